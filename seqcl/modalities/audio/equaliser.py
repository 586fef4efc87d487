"""Equaliser: what a microphone, a loudspeaker or a telephone line does to a sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.modalities.audio.spectral import fast_length, waves
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, check_range

__all__ = ["Equaliser"]

Share = Annotated[float, Ge(0), Le(1)]

_RING = 1_024
"""Samples of silence that keep the end of a record from ringing into its beginning."""


@dataclass(frozen=True, kw_only=True)
class Equaliser(ValueAugmentation):
    """Weigh frequencies by a smooth random curve between two cut-offs.

    The curve runs through knots that are equally far apart in octaves, over the six octaves up to
    half the sampling rate and flat below, and the cut-offs
    are those of Butterworth filters of order 4. Phases stay as they are.
    """

    sigma_db: Annotated[float, Ge(0), Le(60)] = 4.0
    """Standard deviation of the curve at its knots, in dB."""
    knots: Annotated[int, Ge(2), Le(64)] = 7
    """Points through which the curve is drawn."""
    low: tuple[Share, Share] = (0.0, 0.02)
    """Lower cut-off as a share of half the sampling rate, drawn uniformly; 0 = none."""
    high: tuple[Share, Share] = (0.6, 1.0)
    """Upper cut-off as a share of half the sampling rate, drawn uniformly."""

    def __post_init__(self) -> None:
        check_range(self, "low")
        check_range(self, "high")
        if self.low[1] >= self.high[0]:
            raise ValueError(
                f"Equaliser: low reaches {self.low[1]} and high begins at {self.high[0]}; nothing "
                "would be left between"
            )

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `gain_db` (B, knots), `low` and `high` (B, 1)."""
        return {
            "gain_db": self.sigma_db * rng.normal(len(batch), self.knots),
            "low": rng.uniform(len(batch), *self.low, 1),
            "high": rng.uniform(len(batch), *self.high, 1),
        }

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Filter in the frequency domain, in float32."""
        values = waves(batch)
        steps = values.shape[-1]
        size = fast_length(steps + min(steps, _RING))
        share = torch.arange(size // 2 + 1, device=values.device) * (2 / size)
        share = share.clamp(min=1 / size)
        place = (share.log2() / 6 + 1).clamp(min=0) * (self.knots - 1)  # (F,)
        left = place.long().clamp(max=self.knots - 2)
        # In float64, so that no power of 10 depends on a record's place in the batch.
        knots = (10 ** (params["gain_db"].double() / 20)).float()
        gain = torch.lerp(knots[:, left], knots[:, left + 1], place - left)
        gain = gain * _passed(params["low"] / share)
        gain = gain * _passed(share / params["high"].clamp(min=1e-6))
        spectrum = torch.fft.rfft(values, n=size) * gain.unsqueeze(1)
        heard: Tensor = torch.fft.irfft(spectrum, n=size)[..., :steps]
        return heard.to(batch.values.dtype)


def _passed(ratio: Tensor) -> Tensor:
    """Return the amplitude that a Butterworth filter of order 4 leaves: 24 dB less an octave."""
    eighth = ratio.square().square().square()
    return (1 + eighth).rsqrt()
