"""No projection: the loss is taken on the embedding itself."""

from __future__ import annotations

from torch import Tensor

from seqcl.heads.base import Head

__all__ = ["IdentityHead"]


class IdentityHead(Head):
    """Return the embedding unchanged.

    Usually some points worse than `mlp` in linear accuracy (Chen et al. 2020, section 4.2),
    because the loss then removes from the embedding itself what the views change.
    """

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, in_dim)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (B, in_dim) unchanged."""
        return pooled
