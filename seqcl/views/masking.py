"""Augmentations that hide part of a record: time, step, channel and frequency mask.

What is hidden becomes 0, the mean of scaled data; `Batch.mask` stays as it is, since a hidden
step is a real one that the encoder has to do without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, real_steps, zero_masked

__all__ = ["ChannelMask", "FrequencyMask", "StepMask", "TimeMask"]

Fraction = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class TimeMask(ValueAugmentation):
    """Hide spans of time in all channels of a record (SpecAugment, arXiv 1904.08779)."""

    fraction: Fraction = 0.2
    """Fraction of a record's own length that all spans hide together, less where they overlap."""
    spans: Annotated[int, Ge(1), Le(64)] = 2
    """Number of spans, each ``fraction / spans`` of the record long."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `place` (B, spans), where in the slack each span begins."""
        return {"place": rng.uniform(len(batch), 0.0, 1.0, self.spans)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Set the spans to 0."""
        steps, device = batch.values.shape[-1], batch.values.device
        width = self.fraction / self.spans
        middle: Tensor = params["place"] * (1 - width) + width / 2
        at = (torch.arange(steps, device=device) + 0.5).unsqueeze(0)
        at = at / (steps if batch.lengths is None else batch.lengths.clamp(min=1).unsqueeze(1))
        keep = (at - middle[:, :1]).abs() >= width / 2
        for span in range(1, self.spans):
            keep &= (at - middle[:, span, None]).abs() >= width / 2
        kept: Tensor = batch.values * keep.unsqueeze(1)
        return kept


@dataclass(frozen=True, kw_only=True)
class StepMask(ValueAugmentation):
    """Hide single steps in all channels, each by its own draw (TS2Vec, arXiv 2106.10466).

    TS2Vec hides the steps after its first, linear layer, so that a hidden step differs from one
    whose values are 0. An encoder's first layer turns 0 into its learnt bias: the same in all but
    the constant, for every encoder.
    """

    probability: Annotated[float, Ge(0), Lt(1)] = 0.5
    """Probability that a step is hidden."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `keep` (B, T): True = kept."""
        rows, _, steps = batch.values.shape
        return {"keep": rng.uniform(rows, 0.0, 1.0, steps) >= self.probability}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Set the hidden steps to 0."""
        return torch.where(params["keep"].unsqueeze(1), batch.values, batch.values.new_zeros(()))


@dataclass(frozen=True, kw_only=True)
class ChannelMask(ValueAugmentation):
    """Hide whole channels of a record, never all of them; one channel alone is kept."""

    probability: Annotated[float, Ge(0), Le(1)] = 0.2
    """Probability that a channel is hidden."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `keep` (B, C): True = kept."""
        draws = rng.uniform(len(batch), 0.0, 1.0, batch.values.shape[1])
        return {"keep": (draws >= self.probability) | (draws == draws.amax(1, keepdim=True))}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Set the hidden channels to 0."""
        return torch.where(params["keep"].unsqueeze(2), batch.values, batch.values.new_zeros(()))


@dataclass(frozen=True, kw_only=True)
class FrequencyMask(ValueAugmentation):
    """Remove a band of frequencies from all channels of a record; its mean stays.

    The band is one of the whole T steps, so it has the same frequencies for every length. Masked
    steps count as 0 in the transform and are 0 after it: near them the band is removed only
    approximately.
    """

    fraction: Fraction = 0.1
    """Width of the band as a share of all frequencies up to half the rate; at least one bin."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `place` (B, 1), where in the slack the band begins."""
        return {"place": rng.uniform(len(batch), 0.0, 1.0, 1)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Remove the band, in float32."""
        values = zero_masked(batch.values, real_steps(batch)).float()
        steps = values.shape[-1]
        spectrum = torch.fft.rfft(values)  # (B, C, F), bin 0 is the mean
        bins = spectrum.shape[-1] - 1
        width = max(1, round(self.fraction * bins))
        first = 1 + (params["place"] * (bins - width + 1)).floor()
        bin_ = torch.arange(bins + 1, device=values.device)
        keep = (bin_ < first) | (bin_ >= first + width)
        kept: Tensor = torch.fft.irfft(spectrum * keep.unsqueeze(1), n=steps)
        return kept.to(batch.values.dtype)
