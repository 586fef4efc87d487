"""Statistics of random kernels' responses over the real steps of a record."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from seqcl.encoders.pooling import Pooling

__all__ = ["KERNELS", "STATISTICS", "KernelPool", "Statistic"]

Statistic = Literal["max", "mean", "positive_mean", "positive_place"]

KERNELS = 84
STATISTICS: tuple[Statistic, ...] = ("max", "positive_mean", "positive_place")
"""What tells classes apart besides the counts; the mean costs neighbours more than it gives."""
_WORDS = 31 * 8
"""Words of 8 flags that can be added before one of their bytes could overflow."""
_WEIGHT = 0.5
"""Norm of a statistic's features; that of the counts is 1."""


class KernelPool(Pooling):
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
        centre, scale: (out_dim,), what `standardise` found; 0 and 1 before.
    """

    levels: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        inputs: int,
        slots: int,
        biases: int,
        statistics: tuple[Statistic, ...] = STATISTICS,
        segments: int = 1,
    ) -> None:
        out_dim = slots * KERNELS * (biases + len(statistics)) * segments
        super().__init__(slots * KERNELS, out_dim)
        self.inputs, self.chosen, self.segments = inputs, statistics, segments
        self.register_buffer("levels", torch.zeros(slots, KERNELS, biases))
        self.register_buffer("centre", torch.zeros(out_dim))
        self.register_buffer("scale", torch.ones(out_dim))

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Pool responses (B, slots * 84, T') to (B, out_dim)."""
        slots = features.float().chunk(len(self.levels), 1)
        return self.scaled([self.raw(part, mask, slot) for slot, part in enumerate(slots)], mask)

    def scaled(self, slots: list[Tensor], mask: Tensor | None) -> Tensor:
        """Join raw features of all slots and bring them to the scale of the sample."""
        pooled = (torch.cat(slots, 1) - self.centre) * self.scale
        return pooled if mask is None else pooled.masked_fill(~mask.any(1, keepdim=True), 0.0)

    def standardise(self, pooled: Tensor) -> None:
        """Take centre and scale from the raw features (n, out_dim) of a sample.

        Counts have one variance by their arcsine, so they keep their differences in spread:
        those of an input share one factor, which brings their norm to 1. A statistic has units;
        each of its features is divided by its deviation, and no further where that is small
        beside the others'.
        """
        self.centre.copy_(pooled.mean(0))
        variance = pooled.var(0, correction=0)
        blocks = variance.view(self.inputs, -1, self.segments, self._per_slot)
        squares = torch.split(blocks, self._widths, -1)
        scales = [_shared(squares[0]), *(_softened(part) for part in squares[1:])]
        self.scale.copy_(torch.cat(scales, -1).flatten())

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
        found += [_TAKEN[name](low, count, mask) for name in self.chosen]
        return torch.cat(found, 1)


def _max(low: Tensor, count: Tensor, mask: Tensor | None) -> Tensor:
    return low.amax(2).nan_to_num(neginf=0.0)


def _mean(low: Tensor, count: Tensor, mask: Tensor | None) -> Tensor:
    plain = low if mask is None else low.masked_fill(~mask[:, None], 0.0)
    return plain.sum(2) / count


def _positive_mean(low: Tensor, count: Tensor, mask: Tensor | None) -> Tensor:
    return low.clamp(min=0).sum(2) / (low > 0).sum(2).clamp(min=1)


def _positive_place(low: Tensor, count: Tensor, mask: Tensor | None) -> Tensor:
    at = torch.arange(low.shape[2], dtype=low.dtype, device=low.device)
    if mask is None:
        place = (at / max(1, low.shape[2] - 1))[:, None]  # (T', 1)
    else:
        last = torch.where(mask, at, 0.0).amax(1, keepdim=True)
        place = (at / last.clamp(min=1))[..., None]  # (B, T', 1)
    positive = (low > 0).to(low.dtype)
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

    Flags are bytes; 8 of them are added as one word, which is as fast as comparing alone, where
    a sum of booleans takes half as long again.
    """
    steps = responses.shape[-1]
    padded = F.pad(responses, (0, -steps % 8), value=-math.inf)
    flags = padded[:, :, None] > biases[..., None]  # (B, K, N, T')
    total = torch.zeros((), dtype=torch.int64, device=responses.device)
    for words in torch.split(flags.view(torch.int64), _WORDS, -1):
        total = total + words.sum(-1, keepdim=True).view(torch.uint8).sum(-1)
    return total
