"""An embedding of its own for each of several encoders, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from seqcl.embeddings.base import Embedding
from seqcl.embeddings.projected import ProjectedEmbedding
from seqcl.losses.similarity import unit_rows
from seqcl.registry import Spec

__all__ = ["EachEmbedding"]


class EachEmbedding(Embedding):
    """Fit `of` to the features of each encoder by itself; what they give has length 1 a part.

    Where an encoder is several (`beside`), one closed form over all of them lets the one whose
    features vary more decide; here the cosine is the mean of theirs. An encoder that is one is
    embedded as by `of` alone.

    Args:
        in_dim: size of the encoder's output.
        of: the embedding of one part.
    """

    passes = 2

    def __init__(
        self, in_dim: int, *, of: Spec[Embedding] = Spec("embeddings", "spectral")
    ) -> None:
        super().__init__(in_dim)
        self.of = of
        self.take_parts((in_dim,))

    def take_parts(self, sizes: tuple[int, ...]) -> None:
        """Build an embedding for each part of the features."""
        made = [self.of.build(size) for size in sizes]
        first = made[0]
        if isinstance(first, ProjectedEmbedding):
            raise ValueError("each fits an embedding to every part, and projected has none to fit")
        super().take_parts(sizes)
        self.each = nn.ModuleList(made)
        self.passes, self.sample = first.passes, first.sample
        self.alike, self.views = first.alike, first.views
        self._open = made if self.passes else []

    @property
    def out_dim(self) -> int:
        """E, the sum over the parts."""
        return sum(part.out_dim for part in self._parts())

    def update(self, pooled: Tensor, record: Tensor, alike: Tensor | None = None) -> None:
        """Show each part its features."""
        if not self.passes:
            super().update(pooled, record, alike)
        for part, features in self._apart(pooled):
            if part in self._open:
                part.update(features, record, alike)

    def solve(self, whole: bool = True) -> bool:
        """End a pass; True where it has determined all parts."""
        if not self.passes:
            super().solve(whole)
        self._open = [part for part in self._open if not part.solve(whole)]
        return not self._open

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (N, D) to (N, E)."""
        found: list[Tensor] = [part(features) for part, features in self._apart(pooled)]
        if len(found) == 1:
            return found[0]
        return torch.cat([unit_rows(one) for one in found], 1) * math.sqrt(1 / len(found))

    def _parts(self) -> list[Embedding]:
        return [part for part in self.each if isinstance(part, Embedding)]

    def _apart(self, pooled: Tensor) -> Iterator[tuple[Embedding, Tensor]]:
        """Yield the features of each part with what is fitted to them."""
        return zip(self._parts(), self.apart(pooled), strict=True)
