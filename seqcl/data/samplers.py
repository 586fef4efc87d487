"""Samplers: the order of an epoch, a pure function of (seed, epoch)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from seqcl.data.dataset import Dataset
from seqcl.errors import DataError

__all__ = ["BalancedSampler", "Sampler", "SequentialSampler", "ShuffleSampler"]

Rows = npt.NDArray[np.int64]


class Sampler(ABC):
    """Chooses the rows of an epoch; keeps no state, so any epoch can be had at any time."""

    kind: ClassVar[str] = "samplers"

    def __init__(self, dataset: Dataset) -> None:
        self.size = len(dataset)

    def __len__(self) -> int:
        """Rows of every epoch."""
        return self.size

    @abstractmethod
    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return (len(self),) rows of the dataset in the order of this epoch."""


class SequentialSampler(Sampler):
    """Every record once, in the dataset's order."""

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return 0, 1, 2, ..., whatever the seed."""
        return np.arange(self.size)


class ShuffleSampler(Sampler):
    """Every record once, in a new random order each epoch."""

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return a permutation of all rows."""
        return np.random.default_rng((seed, epoch)).permutation(self.size)


class BalancedSampler(Sampler):
    """As many records of each class as of any other, drawn with replacement within a class.

    The classes come in shuffled rounds, each class once a round, so every stretch of K rows (K
    classes) that starts at a multiple of K holds each class once. An epoch has as many rows as
    the dataset. Raises DataError where a record has no label.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        codes = dataset.label_codes
        unknown = np.flatnonzero(codes < 0)
        if len(unknown):
            raise DataError(
                f"sampler balanced: {len(unknown)} of {len(codes)} records have no label, first "
                f"{dataset.ids[int(unknown[0])]}; label them or use training.sampler=shuffle"
            )
        _, counts = np.unique(codes, return_counts=True)
        self._by_class = np.argsort(codes, kind="stable")
        self._counts = counts
        self._first = np.cumsum(counts) - counts

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return rows in rounds of the classes."""
        rng = np.random.default_rng((seed, epoch))
        classes = len(self._counts)
        rounds = -(-self.size // classes)
        order = rng.permuted(np.tile(np.arange(classes), (rounds, 1)), axis=1).ravel()[: self.size]
        within = rng.integers(0, self._counts[order])
        rows: Rows = self._by_class[self._first[order] + within]
        return rows
