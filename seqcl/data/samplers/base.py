"""Sampler: the order of an epoch, a pure function of (seed, epoch)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from seqcl.data.dataset import Dataset

__all__ = ["Rows", "Sampler"]

Rows = npt.NDArray[np.int64]


class Sampler(ABC):
    """Chooses the rows of an epoch; keeps no state, so any epoch can be had at any time.

    A batch is the next `batch_size` rows of an epoch. A sampler that puts records together in
    sets says by `fault` which batch sizes keep them together.
    """

    kind: ClassVar[str] = "samplers"
    needs: ClassVar[frozenset[str]] = frozenset()
    """Of labels, groups, pairs: what it cannot order records without."""

    def __init__(self, dataset: Dataset) -> None:
        self.size = len(dataset)

    def __len__(self) -> int:
        """Rows of every epoch."""
        return self.size

    @abstractmethod
    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return (len(self),) rows of the dataset in the order of this epoch."""

    def fault(self, batch_size: int) -> str | None:
        """Return what is wrong with batches of this size, and what to do; None = nothing."""
        return None
