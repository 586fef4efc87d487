"""Modality: what ``modality: sequence`` stands for, and Baseline: what it is compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from seqcl.batch import Axes, Embeddings
from seqcl.data.dataset import Dataset
from seqcl.errors import DataError

__all__ = ["Baseline", "Modality", "NotApplicable"]


@dataclass(frozen=True, kw_only=True)
class Modality:
    """The defaults that a preset starts from; everything in it can be set otherwise."""

    name: str
    layout: Axes
    reader: str | None = None
    """Reader of every file; None = by the file's suffix."""
    frontend: str
    views: Mapping[str, Any] = field(default_factory=dict)
    """A view generator with its options, in the form a preset gives them."""
    encoder: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """Options of the `data:` section beside `layout` and `scaler`."""
    scaler: Literal["none", "channel", "record"]
    baselines: tuple[str, ...]
    """Printed beside every trained encoder."""


class NotApplicable(DataError):
    """A baseline that this data has no form for; its row shows a dash and this reason."""


class Baseline(ABC):
    """A plain, untrained system that an encoder must beat, evaluated in the same way.

    It may fit to the reference set (means, kernel biases), never to the test set.
    """

    kind: ClassVar[str] = "baselines"
    name: ClassVar[str]
    evaluators: ClassVar[tuple[str, ...]]
    """The evaluators that a row of this baseline is printed for."""

    @abstractmethod
    def __call__(
        self, reference: Dataset, test: Dataset, seed: int
    ) -> tuple[Embeddings, Embeddings]:
        """Return both sets as vectors of one size; raises NotApplicable with the reason."""
