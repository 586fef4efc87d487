"""What encoders of several encoders share: all see a view, and `pooled` is all of theirs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqcl.batch import Batch, Encoded
from seqcl.encoders.base import Encoder
from seqcl.encoders.pooling import Pooling
from seqcl.rng import Rng

__all__ = ["SeveralEncoders"]


class SeveralEncoders(Encoder):
    """Encodes by each of `members`; pooled and local features are theirs, in their order."""

    def __init__(self, in_channels: int, members: Sequence[Encoder]) -> None:
        first = members[0]
        if any(one.stride != first.stride for one in members):
            raise ValueError(f"{type(self).__name__}: its encoders have different strides")
        pooling = _PoolEach([one.pooling for one in members])
        super().__init__(in_channels, pooling.in_dim, pooling, first.stride)
        self.members = nn.ModuleList(members)
        self.min_batch = max(one.min_batch for one in members)
        self.exportable = all(one.exportable for one in members)
        self.embeds_steps = all(one.embeds_steps for one in members)

    def each(self) -> list[Encoder]:
        """Return the members."""
        return [one for one in self.members if isinstance(one, Encoder)]

    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Let all members take what they need from data."""
        for number, one in enumerate(self.each()):
            one.prepare(sample, rng.fork(number))

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T'), member after member."""
        return torch.cat([one.features(values, mask, lengths) for one in self.each()], 1)

    def forward(self, batch: Batch, local: bool = False) -> Encoded:
        """Encode one view by all members."""
        found = [one(batch, local=local) for one in self.each()]
        pooled = torch.cat([one.pooled for one in found], dim=1)
        features = torch.cat([one.local for one in found], dim=1) if local else None
        return Encoded(pooled, features, found[0].mask, batch)


class _PoolEach(Pooling):
    """Pool the features of each member as it does itself; what it holds is registered there."""

    def __init__(self, each: Sequence[Pooling]) -> None:
        super().__init__(sum(one.in_dim for one in each), sum(one.out_dim for one in each))
        self._each = tuple(each)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B, out_dim)."""
        parts = torch.split(features, [one.in_dim for one in self._each], 1)
        pooled = [one(part, mask) for one, part in zip(self._each, parts, strict=True)]
        return torch.cat(pooled, dim=1)
