"""Injections: anomalies put into records, as negatives, and as labels where there are none.

Each changes some channels of one stretch of a record and says where. Values are scaled data: 1 is
one standard deviation of a channel over the training set.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, check_range, real_steps, zero_masked
from seqcl.views.window import share

__all__ = ["Amplitude", "Fraction", "Injection", "injected"]

Fraction = Annotated[float, Ge(0), Le(1)]
Amplitude = Annotated[float, Gt(0), Le(1000)]


@dataclass(frozen=True, kw_only=True)
class Injection(ValueAugmentation):
    """An augmentation that makes one stretch of some channels of a record abnormal.

    Its parameters hold `start` and `stop` (B,), the stretch ``[start, stop)`` in steps, `channels`
    (B, C) True = changed, and `steps`, the T that they were drawn for; see `injected`.
    """

    fraction: tuple[Fraction, Fraction] = (0.1, 0.5)
    """Length of the stretch as a share of the record's own length, at least one step."""
    channel_share: Annotated[float, Ge(0), Le(1)] = 0.5
    """Probability that a channel is changed; one always is."""
    floor: Annotated[float, Gt(0), Le(100)] = 0.1
    """Smallest deviation that amplitudes are measured in: a constant channel has none."""

    def __post_init__(self) -> None:
        check_range(self, "fraction")

    @abstractmethod
    def own(self, batch: Batch, rng: Rng) -> Params:
        """Draw what it needs besides the stretch and the channels."""

    @abstractmethod
    def inject(self, batch: Batch, params: Params) -> Tensor:
        """Return (B, C, T) float32; only the stretch of the changed channels is used of it.

        Args:
            batch: its values are float32, 0 where masked.
            params: from `draw`.
        """

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw the stretch, the channels, and what the kind needs."""
        rows, channels, steps = batch.values.shape
        length = share(batch, steps)
        size = rng.uniform(rows, *self.fraction) * length
        size = size.round().long().clamp(min=1).minimum(length)
        start = (self.place(rows, rng) * (length - size + 1)).long().minimum(length - size)
        draws = rng.uniform(rows, 0.0, 1.0, channels)
        changed = (draws < self.channel_share) | (draws == draws.amin(1, keepdim=True))
        where = {"start": start, "stop": start + size, "channels": changed, "steps": steps}
        return where | self.own(batch, rng)

    def place(self, rows: int, rng: Rng) -> Tensor:
        """Draw (B,) in [0, 1], where in the slack the stretch begins."""
        return rng.uniform(rows, 0.0, 1.0)

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Put the injected values into the stretch of the changed channels."""
        values = zero_masked(batch.values, real_steps(batch)).float()
        abnormal = self.inject(batch.with_values(values), params)
        here = _stretch(params).unsqueeze(1) & params["channels"].unsqueeze(2)
        return torch.where(here, abnormal.to(batch.values.dtype), batch.values)

    def deviation(self, batch: Batch) -> Tensor:
        """Return (B, C, 1), the standard deviation of each channel, at least the floor."""
        centred = zero_masked(batch.values - channel_means(batch), real_steps(batch))
        variance: Tensor = centred.square().sum(2, keepdim=True) / _counts(batch)
        return variance.sqrt().clamp(min=self.floor)


def injected(params: Params) -> tuple[Tensor, Tensor]:
    """Return which steps (B, T) and channels (B, C) of each record an injection has changed.

    A record that was not chosen has none. Steps that are masked in the batch are not left out.
    """
    steps, channels = _stretch(params), params["channels"]
    chosen = params.get("chosen")
    if chosen is None:
        return steps, channels
    return steps & chosen.unsqueeze(1), channels & chosen.unsqueeze(1)


def channel_means(batch: Batch) -> Tensor:
    """Return (B, C, 1), the mean of each channel over its real steps; values are 0 elsewhere."""
    return batch.values.sum(2, keepdim=True) / _counts(batch)


def stretch_place(params: Params) -> tuple[Tensor, Tensor]:
    """Return steps since the start (B, T), negative before it, and the stretch's size (B, 1)."""
    start = params["start"].unsqueeze(1)
    return _steps(params) - start, params["stop"].unsqueeze(1) - start


def _steps(params: Params) -> Tensor:
    return torch.arange(params["steps"], device=params["start"].device)


def _stretch(params: Params) -> Tensor:
    steps = _steps(params)
    inside: Tensor = (steps >= params["start"].unsqueeze(1)) & (steps < params["stop"].unsqueeze(1))
    return inside


def _counts(batch: Batch) -> Tensor | float:
    real = real_steps(batch)
    return batch.values.shape[2] if real is None else real.sum(1).clamp(min=1).view(-1, 1, 1)
