"""Embedding: the closed-form step that turns `pooled` into the vectors that are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from seqcl.losses.similarity import unit_rows
from seqcl.registry import Spec
from seqcl.views.base import ViewGenerator

__all__ = ["Alike", "Embedding"]

Alike = Literal["record", "group", "label"]


class Embedding(nn.Module, ABC):
    """Fitted to statistics of views after gradient training, then part of the Model.

    Fitting shows views in passes: `update` for every part of the data, then `solve`.
    """

    kind: ClassVar[str] = "embeddings"
    passes: int = 0
    """How often views are shown at most before the map is known; 0 = nothing to fit."""
    sample: int | None = None
    """Records that the first of two passes needs at most; None = all."""
    alike: Alike = "record"
    """Which records count as views of one thing."""
    views: Spec[ViewGenerator] | None = None
    """What makes the views to fit to; None = what makes those of the training."""

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.sizes: tuple[int, ...] = (in_dim,)

    @property
    def out_dim(self) -> int:
        """E, numbers that are kept of a record."""
        return self.in_dim

    def take_parts(self, sizes: tuple[int, ...]) -> None:
        """Be told, before all else, how many features are of which of several encoders."""
        self.sizes = sizes

    def apart(self, pooled: Tensor) -> tuple[Tensor, ...]:
        """Return the features (N, D_i) of each encoder."""
        return torch.split(pooled, list(self.sizes), 1)

    def levelled(self, pooled: Tensor) -> Tensor:
        """Return (N, D); where it is of several encoders, what each gives has length 1."""
        parts = self.apart(pooled)
        return pooled if len(parts) == 1 else torch.cat([unit_rows(part) for part in parts], 1)

    def update(self, pooled: Tensor, record: Tensor, alike: Tensor | None = None) -> None:
        """Add the statistics of views.

        Args:
            pooled: (V*B, D).
            record: (V*B,) which record each is a view of; all views of a record come in one call.
            alike: (V*B,) which rows are of one thing; None = `record`.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to fit")

    def solve(self, whole: bool = True) -> bool:
        """End a pass, which has shown all records or (`whole` False) a sample of them.

        Returns whether the map is determined, so that no further pass is needed; raises
        EmbeddingError with both numbers if records are too few.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to fit")

    @abstractmethod
    def forward(self, pooled: Tensor) -> Tensor:
        """Map (N, D) to (N, E)."""
