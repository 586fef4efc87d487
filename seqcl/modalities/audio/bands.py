"""Augmentations of a spectrogram along its bands: warp, mask, offset, mixture.

Channels are bands from low to high, in standardised logarithms; time is moved by the augmentations
of all series (`crop`, `speed`, `time_warp`) and hidden by `time_mask`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, check_range, real_steps

__all__ = ["BandMask", "BandMix", "BandOffset", "BandWarp"]

Factor = Annotated[float, Gt(0), Le(4)]
Bands = Annotated[float, Ge(-64), Le(64)]
Part = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class BandWarp(ValueAugmentation):
    """Stretch and shift each spectrogram along its bands: pitch, vocal tract, resized crop.

    Bands of a mel scale above 1 kHz are equally far apart in octaves (5.3 bands of 64 up to 8 kHz
    make a third), so that a shift changes the pitch, and a stretch about a random centre is the
    frequency half of a random resized crop (BYOL-A, arXiv 2103.06695). Beyond an end its band
    is repeated.
    """

    scale: tuple[Factor, Factor] = (0.9, 1.1)
    """Range of the stretch, drawn uniformly; above 1 widens what lies about the centre."""
    shift: tuple[Bands, Bands] = (-3.0, 3.0)
    """Range of the shift upwards in bands, drawn uniformly."""

    def __post_init__(self) -> None:
        check_range(self, "scale")
        check_range(self, "shift")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `scale`, `shift` and `centre`, a share of all bands, (B, 1, 1) each."""
        return {
            "scale": rng.uniform(len(batch), *self.scale, 1, 1),
            "shift": rng.uniform(len(batch), *self.shift, 1, 1),
            "centre": rng.uniform(len(batch), 0.0, 1.0, 1, 1),
        }

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Read each band between two of the input, by a matrix of weights."""
        bands = batch.values.shape[1]
        at = torch.arange(bands, dtype=torch.float32, device=batch.values.device)
        centre = params["centre"] * (bands - 1)
        source = centre + (at[:, None] - params["shift"] - centre) / params["scale"]
        source = source.clamp(0, bands - 1)  # (B, F, 1)
        weights = (1 - (source - at).abs()).clamp(min=0)  # (B, F, F)
        warped: Tensor = weights.to(batch.values.dtype) @ batch.values
        return warped


@dataclass(frozen=True, kw_only=True)
class BandMask(ValueAugmentation):
    """Hide spans of neighbouring bands at all times (SpecAugment, arXiv 1904.08779)."""

    fraction: Annotated[float, Gt(0), Lt(1)] = 0.2
    """Fraction of the bands that all spans hide together, less where they overlap."""
    spans: Annotated[int, Ge(1), Le(64)] = 2
    """Number of spans, each ``fraction / spans`` of the bands wide."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `place` (B, spans), where in the slack each span begins."""
        return {"place": rng.uniform(len(batch), 0.0, 1.0, self.spans)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Set the bands to 0, the mean."""
        bands, width = batch.values.shape[1], self.fraction / self.spans
        middle = params["place"] * (1 - width) + width / 2  # (B, spans)
        at = (torch.arange(bands, device=batch.values.device) + 0.5) / bands
        hidden = ((at[:, None] - middle[:, None]).abs() < width / 2).any(2)  # (B, F)
        return batch.values.masked_fill(hidden.unsqueeze(2), 0.0)


@dataclass(frozen=True, kw_only=True)
class BandOffset(ValueAugmentation):
    """Add one smooth random curve over the bands to all frames: an equaliser, on logarithms."""

    sigma: Annotated[float, Ge(0), Le(10)] = 0.3
    """Standard deviation of the curve at its knots, in standard deviations of a band."""
    knots: Annotated[int, Ge(2), Le(64)] = 6
    """Points through which the curve is drawn, evenly spaced over the bands; 2 = a tilt."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `offset` (B, knots)."""
        return {"offset": self.sigma * rng.normal(len(batch), self.knots)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Add the curve, half cosines between its knots."""
        bands = batch.values.shape[1]
        at = torch.arange(bands, dtype=torch.float32, device=batch.values.device)
        at = at * ((self.knots - 1) / max(1, bands - 1))
        knot = torch.arange(self.knots, device=at.device)[:, None]
        bumps = (1 + ((at - knot).clamp(-1, 1) * math.pi).cos()) / 2  # (knots, F)
        curve: Tensor = params["offset"] @ bumps
        return batch.values + curve.unsqueeze(2).to(batch.values.dtype)


@dataclass(frozen=True, kw_only=True)
class BandMix(ValueAugmentation):
    """Mix another record of the batch in, as their energies add (log-mixup-exp of BYOL-A).

    ``ln((1 - a) exp(x) + a exp(y))``. Records are mixed in pairs, the first with the second and so
    on, each at a ratio of its own; a last one without a partner stays. What is real in the other
    alone is not heard.
    """

    mixes: ClassVar[bool] = True

    part: tuple[Part, Part] = (0.0, 0.4)
    """Range of a, drawn uniformly."""

    def __post_init__(self) -> None:
        check_range(self, "part")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `part` (B, 1, 1)."""
        return {"part": rng.uniform(len(batch), *self.part, 1, 1)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Add in the domain of energies, in float32."""
        rows = len(batch)
        other = torch.arange(rows, device=batch.values.device)
        other = torch.where(other < rows - rows % 2, other ^ 1, other)
        values, mask = batch.values.float(), real_steps(batch)
        theirs = values[other]
        if mask is not None:
            theirs = theirs.masked_fill(~mask[other].unsqueeze(1), -torch.inf)
        part = params["part"]
        mixed = torch.logaddexp(values + torch.log1p(-part), theirs + part.log())
        alone = other.view(-1, 1, 1) == torch.arange(rows, device=other.device).view(-1, 1, 1)
        return torch.where(alone, values, mixed).to(batch.values.dtype)
