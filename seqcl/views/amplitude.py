"""Augmentations of the amplitude: jitter, scale, offset, magnitude warp.

Values are scaled data: 1 is one standard deviation of a channel over the training set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, check_range

__all__ = ["Jitter", "MagnitudeWarp", "Offset", "Scale"]

Factor = Annotated[float, Gt(0), Le(100)]
Sigma = Annotated[float, Ge(0), Le(100)]


@dataclass(frozen=True, kw_only=True)
class Jitter(ValueAugmentation):
    """Add white Gaussian noise to every step."""

    sigma: Sigma = 0.05
    """Standard deviation of the noise, in standard deviations of a channel."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `noise` (B, C, T), standard normal."""
        return {"noise": rng.normal(*batch.values.shape)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Add the noise."""
        noise = params["noise"].to(batch.values.dtype)
        return torch.add(batch.values, noise, alpha=self.sigma)


@dataclass(frozen=True, kw_only=True)
class Scale(ValueAugmentation):
    """Multiply each record, or each of its channels, by a random factor."""

    factor: tuple[Factor, Factor] = (0.8, 1.2)
    """Range of the factor, drawn uniformly."""
    per: Literal["channel", "record"] = "channel"
    """Whether the channels of a record have factors of their own or share one."""

    def __post_init__(self) -> None:
        check_range(self, "factor")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `factor` (B, C, 1) or (B, 1, 1)."""
        channels = batch.values.shape[1] if self.per == "channel" else 1
        return {"factor": rng.uniform(len(batch), *self.factor, channels, 1)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Multiply by the factor."""
        factor: Tensor = params["factor"]
        return batch.values * factor.to(batch.values.dtype)


@dataclass(frozen=True, kw_only=True)
class Offset(ValueAugmentation):
    """Shift the level of each channel of each record."""

    sigma: Sigma = 0.1
    """Standard deviation of the shift, in standard deviations of a channel."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `offset` (B, C, 1)."""
        return {"offset": self.sigma * rng.normal(len(batch), batch.values.shape[1], 1)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Add the offset."""
        offset: Tensor = params["offset"]
        return batch.values + offset.to(batch.values.dtype)


@dataclass(frozen=True, kw_only=True)
class MagnitudeWarp(ValueAugmentation):
    """Multiply each channel by a smooth random curve around 1 (Um et al., arXiv 1706.00527).

    The curve passes through its knots with half cosines between them, where the paper has a
    cubic spline: it never leaves the range of its knots. Knots are spread over a record's own
    length.
    """

    sigma: Annotated[float, Ge(0), Le(10)] = 0.2
    """Standard deviation of the curve at its knots."""
    knots: Annotated[int, Ge(2), Le(64)] = 4
    """Points through which the curve is drawn, evenly spaced from the first step to the last."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `curve` (B, C, knots), the factors at the knots."""
        return {"curve": 1 + self.sigma * rng.normal(len(batch), batch.values.shape[1], self.knots)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Multiply by the curve."""
        curve: Tensor = params["curve"] @ self._bumps(batch)
        return batch.values * curve.to(batch.values.dtype)

    def _bumps(self, batch: Batch) -> Tensor:
        """Return the weight of each knot at each step: (knots, T), or (B, knots, T) by length."""
        steps, device = batch.values.shape[-1], batch.values.device
        place = torch.arange(steps, dtype=torch.float32, device=device)
        place *= self.knots - 1
        if batch.lengths is None:
            place /= max(1, steps - 1)
        else:
            place = place / (batch.lengths - 1).clamp(min=1).view(-1, 1, 1)
        knots = torch.arange(self.knots, device=device).unsqueeze(1)
        return (1 + ((place - knots).clamp(-1, 1) * torch.pi).cos()) / 2
