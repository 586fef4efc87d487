"""An encoder that learns and one that stays as it was prepared, side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from seqcl.batch import Batch, Encoded
from seqcl.encoders.base import Encoder
from seqcl.encoders.pooling import WholeRecords
from seqcl.registry import Spec
from seqcl.rng import Rng

__all__ = ["Beside"]


class Beside(Encoder):
    """Encode by two encoders; `pooled` is both, the learner's first.

    A method trains `learner` alone, as if there were no other; what it gives and what random
    kernels give err in other records, so that a closed form over both ranks better than over
    either. Local features are the learner's; there is no embedding of single steps (UsageError).

    Args:
        in_channels: C of the series.
        learner: encoder that is trained.
        fixed: encoder that is not, but takes what it needs from data.
    """

    embeds_steps = False
    autocast = False

    def __init__(
        self,
        in_channels: int,
        *,
        learner: Spec[Encoder] = Spec("encoders", "conv1d"),
        fixed: Spec[Encoder] = Spec("encoders", "rocket"),
    ) -> None:
        first, second = learner.build(in_channels), fixed.build(in_channels)
        if not first.trainable:
            raise ValueError(f"Beside: {learner.name} has nothing to train; give it as fixed")
        both = WholeRecords(
            first.local_dim, first.out_dim + second.out_dim,
            "encoder beside embeds whole records: a window of the learner's features is not one of "
            "the other's",
        )  # fmt: skip
        super().__init__(in_channels, first.local_dim, both, first.stride)
        self.trained, self.fixed = first, second.requires_grad_(False)
        self.min_batch = first.min_batch
        self.exportable = first.exportable and second.exportable

    @property
    def parts(self) -> tuple[int, ...]:
        """Features of the learner or of each of its members, and of the other."""
        return (*self.trained.parts, *self.fixed.parts)

    @property
    def learners(self) -> tuple[Encoder, ...]:
        """What methods train."""
        return self.trained.learners

    def train(self, mode: bool = True) -> Beside:
        """Keep the other encoder as it is: no statistics of batches, no dropout."""
        super().train(mode)
        self.fixed.eval()
        return self

    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Let both encoders take what they need from data."""
        self.trained.prepare(sample, rng.fork(0))
        self.fixed.prepare(sample, rng.fork(1))

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return the learner's (B, local_dim, T')."""
        return self.trained.features(values, mask, lengths)

    def forward(self, batch: Batch, local: bool = False) -> Encoded:
        """Encode one view by both."""
        first, second = self.trained(batch, local=local), self.fixed(batch)
        pooled = torch.cat((first.pooled, second.pooled), dim=1)
        return Encoded(pooled, first.local, first.mask, batch)
