"""Several encoders that learn the same from other initial weights."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from seqcl.batch import Axes, Batch, Encoded
from seqcl.encoders.base import Encoder
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec
from seqcl.rng import Rng

__all__ = ["Ensemble"]


class Ensemble(Encoder):
    """Encode by `members` encoders of one kind; `pooled` is all of theirs.

    The method is built once a member, with a head and prototypes of its own, and all see the same
    views. What one initialisation gets wrong is seldom what the next one does (deep ensembles,
    Lakshminarayanan et al. 2017, arXiv 1612.01474), so the mean of their cosines ranks better
    than any of them; training and embedding cost `members` times as much.

    Args:
        in_channels: C of the records.
        of: encoder of one member.
        members: how many.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CT", "CHW")
    autocast = False

    def __init__(
        self,
        in_channels: int,
        *,
        of: Spec[Encoder] = Spec("encoders", "conv1d"),
        members: Annotated[int, Ge(1)] = 2,
    ) -> None:
        made = [of.build(in_channels) for _ in range(members)]
        first = made[0]
        if not first.trainable:
            raise ValueError(f"Ensemble: {of.name} has nothing to train; all members were alike")
        pooling = _PoolEach([member.pooling for member in made])
        super().__init__(in_channels, members * first.local_dim, pooling, first.stride)
        self.out_dim = sum(member.out_dim for member in made)
        self.members = nn.ModuleList(made)
        self.min_batch, self.exportable = first.min_batch, first.exportable
        self.embeds_steps = first.embeds_steps

    @property
    def learners(self) -> tuple[Encoder, ...]:
        """What methods train, each by itself."""
        return tuple(one for member in self._each() for one in member.learners)

    @property
    def parts(self) -> tuple[int, ...]:
        """Features of each member."""
        return tuple(size for member in self._each() for size in member.parts)

    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Let all members take what they need from data."""
        for number, member in enumerate(self._each()):
            member.prepare(sample, rng.fork(number))

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T'), member after member."""
        return torch.cat([member.features(values, mask, lengths) for member in self._each()], 1)

    def forward(self, batch: Batch, local: bool = False) -> Encoded:
        """Encode one view by all members."""
        found = [member(batch, local=local) for member in self._each()]
        pooled = torch.cat([one.pooled for one in found], dim=1)
        features = torch.cat([one.local for one in found], dim=1) if local else None
        return Encoded(pooled, features, found[0].mask, batch)

    def _each(self) -> list[Encoder]:
        return [member for member in self.members if isinstance(member, Encoder)]


class _PoolEach(Pooling):
    """Pool the features of each member as it does itself; what it holds is registered there."""

    def __init__(self, each: list[Pooling]) -> None:
        super().__init__(sum(one.in_dim for one in each), sum(one.out_dim for one in each))
        self._each = tuple(each)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B, out_dim)."""
        parts = features.chunk(len(self._each), 1)
        pooled = [one(part, mask) for one, part in zip(self._each, parts, strict=True)]
        return torch.cat(pooled, dim=1)
