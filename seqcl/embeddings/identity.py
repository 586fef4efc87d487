"""Keep the encoder's output as it is: the control of every closed form."""

from __future__ import annotations

from torch import Tensor

from seqcl.embeddings.base import Embedding

__all__ = ["IdentityEmbedding"]


class IdentityEmbedding(Embedding):
    """Return `pooled` unchanged; of several encoders, what each gives has length 1."""

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (N, D)."""
        return self.levelled(pooled)
