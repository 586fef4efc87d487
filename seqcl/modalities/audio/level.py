"""Augmentations of a waveform's samples: gain, polarity, clipping, quantisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.modalities.audio.spectral import waves
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, check_range

__all__ = ["Clipping", "Gain", "Polarity", "Quantisation"]

Decibels = Annotated[float, Ge(-60), Le(60)]
Level = Annotated[float, Gt(0), Le(1)]
Bits = Annotated[float, Ge(2), Le(16)]


@dataclass(frozen=True, kw_only=True)
class Gain(ValueAugmentation):
    """Make each record louder or softer."""

    gain_db: tuple[Decibels, Decibels] = (-12.0, 6.0)
    """Range of the gain in dB, drawn uniformly."""

    def __post_init__(self) -> None:
        check_range(self, "gain_db")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `gain_db` (B, 1, 1)."""
        return {"gain_db": rng.uniform(len(batch), *self.gain_db, 1, 1)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Multiply by the gain."""
        factor: Tensor = 10 ** (params["gain_db"] / 20)
        return batch.values * factor.to(batch.values.dtype)


@dataclass(frozen=True, kw_only=True)
class Polarity(ValueAugmentation):
    """Turn the chosen records upside down, which no ear hears."""

    p: Annotated[float, Ge(0), Le(1)] = 0.5

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw nothing: an inversion has no parameters."""
        return {}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Negate every sample."""
        return -batch.values


@dataclass(frozen=True, kw_only=True)
class Clipping(ValueAugmentation):
    """Cut each record off at a level below its peak, as an overdriven input does."""

    level: tuple[Level, Level] = (0.2, 0.9)
    """Level as a share of the record's own peak, drawn uniformly."""

    def __post_init__(self) -> None:
        check_range(self, "level")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `level` (B, 1, 1)."""
        return {"level": rng.uniform(len(batch), *self.level, 1, 1)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Limit the samples on both sides."""
        limit = params["level"] * _peak(batch)
        return torch.minimum(torch.maximum(waves(batch), -limit), limit).to(batch.values.dtype)


@dataclass(frozen=True, kw_only=True)
class Quantisation(ValueAugmentation):
    """Round samples to a few levels on the mu-law scale, as a cheap codec does (ITU-T G.711)."""

    bits: tuple[Bits, Bits] = (4.0, 10.0)
    """Bits of a sample, drawn uniformly, fractions included; the peak is full scale."""
    mu: Annotated[float, Gt(0), Le(1000)] = 255.0
    """Curvature of the scale; towards 0 it is linear."""

    def __post_init__(self) -> None:
        check_range(self, "bits")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `bits` (B, 1, 1)."""
        return {"bits": rng.uniform(len(batch), *self.bits, 1, 1)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Compress, round, expand, in float32."""
        peak = _peak(batch).clamp(min=1e-12)
        values = waves(batch) / peak
        scale = math.log1p(self.mu)
        levels = 2 ** (params["bits"] - 1)
        coded = ((values.abs() * self.mu).log1p() / scale * levels).round() / levels
        decoded = (coded * scale).expm1() / self.mu * values.sign() * peak
        coarse: Tensor = decoded.to(batch.values.dtype)
        return coarse


def _peak(batch: Batch) -> Tensor:
    """Return the largest magnitude of each record, (B, 1, 1)."""
    return waves(batch).abs().amax((1, 2), keepdim=True)
