"""Statistics of random kernels' responses over the real steps of a record."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from seqcl.encoders.random_kernels import PoolResponses

__all__ = ["KERNELS", "STATISTICS", "KernelPool", "Statistic"]

Statistic = Literal["max", "mean", "positive_mean", "positive_place"]

KERNELS = 84
STATISTICS: tuple[Statistic, ...] = ("max", "positive_mean", "positive_place")
"""What tells classes apart besides the counts; the mean costs neighbours more than it gives."""
_WEIGHT = 0.5
"""Norm of a statistic's features; that of the counts is 1."""


class KernelPool(PoolResponses):
    """Count each response above biases, and take other statistics of it.

    For each response r (T',) of a kernel: ``arcsin sqrt`` of the share of steps with r above
    each bias, and of the `statistics` max r, mean r, the mean of r where r > 0, and the mean
    place of those steps from 0 (the first) to 1 (the last real one). With `segments` all of it
    for each of that many equal parts of a record, in the order of time.

    Args:
        inputs: 1, or 2 where half of the slots see differences.
        slots: groups of 84 responses, one a dilation and input.
        biases: counts per response.
        statistics: what is taken besides.
        segments: parts of a record.

    Attributes:
        levels: (slots, 84, biases), the biases.
    """

    levels: Tensor

    def __init__(
        self,
        inputs: int,
        slots: int,
        biases: int,
        statistics: tuple[Statistic, ...] = STATISTICS,
        segments: int = 1,
    ) -> None:
        per_slot = KERNELS * (biases + len(statistics)) * segments
        super().__init__(slots, KERNELS, per_slot)
        self.inputs, self.chosen, self.segments = inputs, statistics, segments
        self.register_buffer("levels", torch.zeros(slots, KERNELS, biases))

    def scales(self, variance: Tensor) -> Tensor:
        """Return the factors that bring features of this variance (out_dim,) to one scale.

        Counts have one variance by their arcsine, so they keep their differences in spread:
        those of an input share one factor, which brings their norm to 1. A statistic has units;
        each of its features is divided by its deviation, and no further where that is small
        beside the others'.
        """
        blocks = variance.view(self.inputs, -1, self.segments, self._per_slot)
        squares = torch.split(blocks, self._widths, -1)
        scales = [_shared(squares[0]), *(_softened(part) for part in squares[1:])]
        return torch.cat(scales, -1).flatten()

    def raw(self, responses: Tensor, mask: Tensor | None, slot: int) -> Tensor:
        """Return the raw features of one slot's responses (B, 84, T')."""
        if self.segments == 1:
            return self._statistics(responses, mask, slot)
        if mask is None:
            mask = torch.ones_like(responses[:, 0], dtype=torch.bool)
        parts = _segments(mask, self.segments)
        return torch.cat([self._statistics(responses, part, slot) for part in parts], 1)

    @property
    def _per_slot(self) -> int:
        return sum(self._widths)

    @property
    def _widths(self) -> list[int]:
        """Features of one slot and segment: counts, then each statistic."""
        return [KERNELS * self.levels.shape[2], *(KERNELS for _ in self.chosen)]

    def _statistics(self, responses: Tensor, mask: Tensor | None, slot: int) -> Tensor:
        steps = responses.shape[2]
        count = responses.new_full((1, 1), steps)
        low = responses
        if mask is not None:
            count = mask.sum(1, keepdim=True).clamp(min=1)
            low = responses.masked_fill(~mask[:, None], -math.inf)
        shares = _count_above(low, self.levels[slot]) / count[..., None]
        found = [shares.clamp_(0, 1).sqrt_().asin_().flatten(1)]
        positive = torch.gt(low, 0, out=torch.empty_like(low))
        found += [_TAKEN[name](low, positive, count, mask) for name in self.chosen]
        return torch.cat(found, 1)


def _max(low: Tensor, positive: Tensor, count: Tensor, mask: Tensor | None) -> Tensor:
    return low.amax(2).nan_to_num(neginf=0.0)


def _mean(low: Tensor, positive: Tensor, count: Tensor, mask: Tensor | None) -> Tensor:
    plain = low if mask is None else low.masked_fill(~mask[:, None], 0.0)
    return plain.sum(2) / count


def _positive_mean(low: Tensor, positive: Tensor, count: Tensor, mask: Tensor | None) -> Tensor:
    return low.clamp(min=0).sum(2) / positive.sum(2).clamp(min=1)


def _positive_place(low: Tensor, positive: Tensor, count: Tensor, mask: Tensor | None) -> Tensor:
    at = torch.arange(low.shape[2], dtype=low.dtype, device=low.device)
    if mask is None:
        place = (at / max(1, low.shape[2] - 1))[:, None]  # (T', 1)
    else:
        last = torch.where(mask, at, 0.0).amax(1, keepdim=True)
        place = (at / last.clamp(min=1))[..., None]  # (B, T', 1)
    return (positive @ place).squeeze(2) / positive.sum(2).clamp(min=1)


_TAKEN = {
    "max": _max,
    "mean": _mean,
    "positive_mean": _positive_mean,
    "positive_place": _positive_place,
}


def _shared(variance: Tensor) -> Tensor:
    """Return one factor for each input: (I, S, G, F) of 1 / norm of all its features."""
    norm = variance.sum((1, 2, 3), keepdim=True).sqrt()
    return torch.where(norm > 0, 1 / norm, 0.0).expand_as(variance)


def _softened(variance: Tensor) -> Tensor:
    """Return factors (I, S, G, F) by which features of norm `_WEIGHT` an input vary alike."""
    usual = variance.mean((1, 2, 3), keepdim=True)
    scale = (variance + usual).rsqrt().nan_to_num(posinf=0.0)
    return _WEIGHT * scale * _shared(variance * scale.square())


def _segments(mask: Tensor, segments: int) -> list[Tensor]:
    """Cut each record's real steps (B, T') into equal stretches of time: `segments` masks."""
    at = torch.arange(mask.shape[1], device=mask.device)
    stop = torch.where(mask, at, -1).amax(1, keepdim=True) + 1  # (B, 1)
    part = (at * segments).div(stop.clamp(min=1), rounding_mode="floor")
    return [mask & (part == number) for number in range(segments)]


def _count_above(responses: Tensor, biases: Tensor) -> Tensor:
    """Count the steps of (B, K, T') above each of (K, N): (B, K, N).

    Numbers instead of flags, in one place of memory: comparing is six times as fast so.
    """
    above = torch.empty_like(responses)
    ones = responses.new_ones(responses.shape[-1])
    counts = [torch.gt(responses, one, out=above) @ ones for one in biases.T[..., None]]
    return torch.stack(counts, 2)
