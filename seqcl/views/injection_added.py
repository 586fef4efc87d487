"""Injections that are added to what a sensor shows: spike, level shift, drift, noise burst."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.base import Params, check_range
from seqcl.views.injection import Amplitude, Fraction, Injection, stretch_place

__all__ = ["Drift", "LevelShift", "NoiseBurst", "Spike"]


@dataclass(frozen=True, kw_only=True)
class _Added(Injection):
    """A curve over the stretch, times an amplitude and a sign of each channel's own."""

    amplitude: tuple[Amplitude, Amplitude] = (1.0, 5.0)
    """Height in standard deviations of the channel in this record, drawn uniformly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "amplitude")

    def own(self, batch: Batch, rng: Rng) -> Params:
        """Draw `height` (B, C, 1), with its sign."""
        rows, channels, _ = batch.values.shape
        height = rng.uniform(rows, *self.amplitude, channels, 1)
        return {"height": torch.where(rng.bernoulli(rows, 0.5, channels, 1), height, -height)}

    @abstractmethod
    def curve(self, since: Tensor, size: Tensor) -> Tensor:
        """Return (B, T), 1 at its highest, from steps since the start and the size (B, 1)."""

    def inject(self, batch: Batch, params: Params) -> Tensor:
        """Add the curve."""
        curve = self.curve(*stretch_place(params)).unsqueeze(1)
        added: Tensor = curve * params["height"] * self.deviation(batch)
        return batch.values + added


@dataclass(frozen=True, kw_only=True)
class Spike(_Added):
    """Add a short peak, up or down: half a wave of a sine."""

    fraction: tuple[Fraction, Fraction] = (0.0, 0.05)
    amplitude: tuple[Amplitude, Amplitude] = (3.0, 10.0)

    def curve(self, since: Tensor, size: Tensor) -> Tensor:
        """Rise and fall over the stretch; a spike of one step has its whole height."""
        return ((since + 0.5) / size * torch.pi).sin()


@dataclass(frozen=True, kw_only=True)
class LevelShift(_Added):
    """Shift the level for a stretch."""

    def curve(self, since: Tensor, size: Tensor) -> Tensor:
        """Stay at the whole height."""
        return torch.ones_like(since, dtype=torch.float32)


@dataclass(frozen=True, kw_only=True)
class Drift(_Added):
    """Let the level run away along a straight line, and come back at once at its end."""

    fraction: tuple[Fraction, Fraction] = (0.3, 0.7)

    def curve(self, since: Tensor, size: Tensor) -> Tensor:
        """Rise to the whole height at the last step."""
        return (since + 1) / size


@dataclass(frozen=True, kw_only=True)
class NoiseBurst(_Added):
    """Add white Gaussian noise for a stretch; its standard deviation is the height."""

    amplitude: tuple[Amplitude, Amplitude] = (0.5, 3.0)

    def own(self, batch: Batch, rng: Rng) -> Params:
        """Draw `height` (B, C, 1) times `noise`: (B, C, T)."""
        params = super().own(batch, rng)
        return {"height": params["height"] * rng.normal(*batch.values.shape)}

    def curve(self, since: Tensor, size: Tensor) -> Tensor:
        """Stay at the whole height."""
        return torch.ones_like(since, dtype=torch.float32)
