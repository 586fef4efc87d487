"""Embedding: the closed-form step that turns `pooled` into the vectors that are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Embedding"]


class Embedding(nn.Module, ABC):
    """Fitted to statistics of views after gradient training, then part of the Model."""

    kind: ClassVar[str] = "embeddings"
    passes: ClassVar[int] = 0
    """How often all views must be shown to `update` before `solve`; 0 = nothing to fit."""

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.out_dim = in_dim

    def update(self, pooled: Tensor, record: Tensor) -> None:
        """Add the statistics of views: `pooled` (V*B, D), `record` (V*B,) which record each is."""
        raise NotImplementedError(f"{type(self).__name__} has nothing to fit")

    def solve(self) -> None:
        """Determine the map; raises EmbeddingError with both numbers if records are too few."""
        raise NotImplementedError(f"{type(self).__name__} has nothing to fit")

    @abstractmethod
    def forward(self, pooled: Tensor) -> Tensor:
        """Map (N, D) to (N, E)."""
