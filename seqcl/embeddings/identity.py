"""Keep the encoder's output as it is: the control of every closed form."""

from __future__ import annotations

from torch import Tensor

from seqcl.embeddings.base import Embedding

__all__ = ["IdentityEmbedding"]


class IdentityEmbedding(Embedding):
    """Return `pooled` unchanged."""

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (N, D) unchanged."""
        return pooled
