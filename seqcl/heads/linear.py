"""One linear layer as the projection head."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from seqcl.heads.base import Head

__all__ = ["LinearHead"]


class LinearHead(Head):
    """Project linearly.

    Args:
        in_dim: size of the embedding.
        out_dim: size of the projection.
    """

    def __init__(self, in_dim: int, *, out_dim: Annotated[int, Ge(1)] = 128) -> None:
        super().__init__(in_dim, out_dim)
        self.linear = nn.Linear(in_dim, out_dim)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (B, in_dim) to (B, out_dim)."""
        projection: Tensor = self.linear(pooled)
        return projection
