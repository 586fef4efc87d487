"""Augmentations that move steps: crop, speed, time warp, flip, permutation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.base import Params, check_range
from seqcl.views.resample import Resampling

__all__ = ["Crop", "Flip", "Permutation", "Speed", "TimeWarp"]

Fraction = Annotated[float, Gt(0), Le(1)]
Rate = Annotated[float, Ge(0.1), Le(10)]


@dataclass(frozen=True, kw_only=True)
class Crop(Resampling):
    """Keep a random stretch of each record and resize it to the record's length."""

    fraction: tuple[Fraction, Fraction] = (0.7, 1.0)
    """Length of the stretch as a share of the record's own length, drawn uniformly."""

    def __post_init__(self) -> None:
        check_range(self, "fraction")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `fraction` (B, 1) and `place` (B, 1), where in the slack the stretch begins."""
        return {
            "fraction": rng.uniform(len(batch), *self.fraction, 1),
            "place": rng.uniform(len(batch), 0.0, 1.0, 1),
        }

    def locate(self, positions: Tensor, last: Tensor, params: Params) -> Tensor:
        """Map [0, last] onto the stretch."""
        start = params["place"] * (1 - params["fraction"]) * last
        return torch.addcmul(start, positions, params["fraction"])


@dataclass(frozen=True, kw_only=True)
class Speed(Resampling):
    """Play each record faster or slower; it keeps its number of steps.

    A slower record shows a random part of itself. A faster one ends early; what it lacks, divided
    at random between its two ends, is its own reflection, so that no step is padding, none is
    constant, and the length stays honest; or its end step, as a word is followed by silence.
    """

    rate: tuple[Rate, Rate] = (0.8, 1.25)
    """Input steps per output step, drawn uniformly; above 1 is faster."""
    ends: Literal["reflect", "hold"] = "reflect"
    """What stands beyond an end of a faster record: its reflection, or its end step, held."""

    def __post_init__(self) -> None:
        check_range(self, "rate")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `rate` (B, 1) and `place` (B, 1), how the slack divides before and after."""
        return {
            "rate": rng.uniform(len(batch), *self.rate, 1),
            "place": rng.uniform(len(batch), 0.0, 1.0, 1),
        }

    def locate(self, positions: Tensor, last: Tensor, params: Params) -> Tensor:
        """Scale positions by the rate and reflect them at both ends."""
        start = params["place"] * (1 - params["rate"]) * last
        moved = torch.addcmul(start, positions, params["rate"])
        if self.ends == "hold":
            return moved
        period = (2 * last).clamp(min=1)  # a record of one step has nothing to reflect
        turns = (moved / period).floor_()  # faster than a remainder
        return last - torch.addcmul(moved, turns, period, value=-1).sub_(last).abs_()


@dataclass(frozen=True, kw_only=True)
class TimeWarp(Resampling):
    """Speed each record up and down smoothly along its length; both ends stay (Um et al. 2017).

    The local speed runs linearly between knots and is positive, so the map is monotone with a
    continuous slope. (Um et al., arXiv 1706.00527, draw a cubic spline, which may run backwards.)
    """

    strength: Annotated[float, Ge(0), Le(2)] = 0.1
    """Standard deviation of the log of the local speed: 0.1 is about 10 % faster or slower."""
    knots: Annotated[int, Ge(2), Le(64)] = 4
    """Points at which the speed is drawn, evenly spaced from the first step to the last."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `speed` (B, knots), relative to the mean speed."""
        return {"speed": (self.strength * rng.normal(len(batch), self.knots)).exp()}

    def locate(self, positions: Tensor, last: Tensor, params: Params) -> Tensor:
        """Integrate the speed from 0 to each position, as a sum of truncated squares."""
        speed: Tensor = params["speed"]
        width = 1 / (self.knots - 1)
        slope = speed.diff(dim=1) / width
        bend = slope.diff(dim=1, prepend=torch.zeros_like(slope[:, :1])) / 2
        u = positions / last.clamp(min=1)
        covered = u * speed[:, :1]
        for knot in range(self.knots - 1):
            covered = torch.addcmul(
                covered, (u - knot * width).clamp_(min=0).square(), bend[:, knot, None]
            )
        whole = (speed[:, 1:] + speed[:, :-1]).sum(1, keepdim=True) * (width / 2)
        return covered * (last / whole)


@dataclass(frozen=True, kw_only=True)
class Flip(Resampling):
    """Reverse each record in time, within its own length."""

    p: Annotated[float, Ge(0), Le(1)] = 0.5

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw nothing: a flip has no parameters."""
        return {}

    def locate(self, positions: Tensor, last: Tensor, params: Params) -> Tensor:
        """Count from the last step."""
        return last - positions


@dataclass(frozen=True, kw_only=True)
class Permutation(Resampling):
    """Cut each record into equal segments and put them in a random order (Um et al. 2017).

    Segments have whole numbers of steps, so their values are moved and not interpolated.
    """

    segments: Annotated[int, Ge(2), Le(64)] = 5
    """Number of segments; a record of fewer steps is permuted step by step."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `order` (B, segments): which segment comes first, second, ..."""
        return {"order": rng.uniform(len(batch), 0.0, 1.0, self.segments).argsort(dim=1)}

    def locate(self, positions: Tensor, last: Tensor, params: Params) -> Tensor:
        """Find the segment that each position falls in, and where it came from."""
        order = params["order"]
        cuts = torch.arange(self.segments + 1, device=last.device) * (last.long() + 1)
        cuts = cuts.div(self.segments, rounding_mode="floor").expand(len(order), -1)  # (B, S + 1)
        source = cuts.gather(1, order)
        size = cuts.gather(1, order + 1) - source
        ends = size.cumsum(1)
        positions = positions.expand(len(order), -1)
        slot = torch.searchsorted(ends, positions.long(), right=True)
        slot.clamp_(max=self.segments - 1)
        offset = positions - (ends - size).gather(1, slot)
        # Held at a segment's last step: a position between two segments must not read a third.
        offset = torch.minimum(offset, size.gather(1, slot) - 1.0)
        return offset + source.gather(1, slot)
