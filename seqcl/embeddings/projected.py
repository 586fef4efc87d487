"""The projection of a trained head beside the encoder's output."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from seqcl.embeddings.base import Embedding
from seqcl.heads.base import Head
from seqcl.heads.each import HeadEach
from seqcl.losses.similarity import unit_rows
from seqcl.registry import Spec

__all__ = ["ProjectedEmbedding"]


class ProjectedEmbedding(Embedding):
    """Keep what the loss compared: the projection, beside `pooled` or alone, rows of length 1.

    What the head leaves out is what views of a record do not share, so that its projection ranks
    better, and worse tells what the views change (Chen et al. 2020, arXiv 2002.05709, section
    4.2). Side by side, both of length 1, the cosine is the mean of theirs. The head's weights are
    those of the method when its training ends, and do not learn afterwards.

    Args:
        in_dim: size of the encoder's output.
        head: of the method; None = as it is there.
        keep: `both` or the `projection` alone.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        head: Spec[Head] | None = None,
        keep: Literal["both", "projection"] = "both",
    ) -> None:
        super().__init__(in_dim)
        self.keep = keep
        self._spec = head or Spec("heads", "mlp")
        self.take_parts((in_dim,))

    @property
    def out_dim(self) -> int:
        """E, of the head's outputs, and D where both are kept."""
        return self.projections + (self.in_dim if self.keep == "both" else 0)

    def take_parts(self, sizes: tuple[int, ...]) -> None:
        """Build a head for each part of the features."""
        heads = [self._spec.build(size).requires_grad_(False) for size in sizes]
        super().take_parts(sizes)
        self.projections = sum(head.out_dim for head in heads)
        self.head = heads[0] if len(heads) == 1 else HeadEach(heads, sizes)
        self.eval()

    def train(self, mode: bool = True) -> ProjectedEmbedding:
        """Stay as in evaluation: statistics of batches are those of the method's training."""
        return super().train(False)

    def take(self, head: nn.Module) -> None:
        """Take the weights of a method's head; raises ValueError where its layers are others."""
        try:
            self.head.load_state_dict(head.state_dict())
        except RuntimeError:
            raise ValueError("its head has other layers than that of the method") from None

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (N, D) to (N, E), D and the head's outputs or the latter alone."""
        heads = self.head.each if isinstance(self.head, HeadEach) else (self.head,)
        kept = []
        for head, part in zip(heads, self.apart(pooled), strict=True):
            if self.keep == "both":
                kept.append(unit_rows(part))
            kept.append(unit_rows(head(part)))
        return torch.cat(kept, dim=1) * math.sqrt(1 / len(kept))
