"""Injections that replace what a sensor shows: flat line, dropout, splice, local warp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.base import Params, check_range, real_steps
from seqcl.views.injection import Fraction, Injection, channel_means, stretch_place
from seqcl.views.resample import resample_at
from seqcl.views.window import share

__all__ = ["ChannelDropout", "FlatLine", "LocalWarp", "Splice"]


@dataclass(frozen=True, kw_only=True)
class FlatLine(Injection):
    """Hold the value that a channel has at the start of the stretch: a stuck sensor."""

    def own(self, batch: Batch, rng: Rng) -> Params:
        """Draw nothing more."""
        return {}

    def inject(self, batch: Batch, params: Params) -> Tensor:
        """Repeat the last real value up to the start; 0 where there is none."""
        return _held(batch, params["start"]).expand_as(batch.values)


@dataclass(frozen=True, kw_only=True)
class ChannelDropout(Injection):
    """Lose channels from some step to the end of the record: a dead sensor.

    What a recorder shows of it is the last value, or one it was told to show, here the mean.
    """

    fraction: tuple[Fraction, Fraction] = (0.5, 1.0)
    channel_share: Annotated[float, Gt(0), Le(1)] = 0.2
    shows: Literal["last", "mean", "either"] = "either"
    """What the channel shows then; `either` is drawn per record."""

    def place(self, rows: int, rng: Rng) -> Tensor:
        """Put the stretch at the end."""
        return torch.ones(rows, device=rng.device)

    def own(self, batch: Batch, rng: Rng) -> Params:
        """Draw `last` (B, 1, 1), True = it shows the last value."""
        chance = {"last": 1.0, "mean": 0.0, "either": 0.5}[self.shows]
        return {"last": rng.bernoulli(len(batch), chance, 1, 1)}

    def inject(self, batch: Batch, params: Params) -> Tensor:
        """Repeat the last value or the mean."""
        shown = torch.where(params["last"], _held(batch, params["start"]), channel_means(batch))
        return shown.expand_as(batch.values)


@dataclass(frozen=True, kw_only=True)
class Splice(Injection):
    """Replace a stretch by one from another place: normal values at a wrong time."""

    fraction: tuple[Fraction, Fraction] = (0.1, 0.4)
    source: Literal["record", "batch"] = "record"
    """Where the other stretch is taken from: the same record, or another one of the batch (of
    those that this process holds, so the number of processes matters then)."""

    def own(self, batch: Batch, rng: Rng) -> Params:
        """Draw `away` (B, 1), how far in the slack, and `other` (B,), which record."""
        rows = len(batch)
        away = rng.uniform(rows, 0.25, 0.75, 1)
        step = 1 + (rng.uniform(rows, 0.0, 1.0) * (rows - 1)).long().clamp(max=max(0, rows - 2))
        own = torch.arange(rows, device=batch.values.device)
        return {"away": away, "other": own if self.source == "record" else (own + step) % rows}

    def inject(self, batch: Batch, params: Params) -> Tensor:
        """Read elsewhere; a step that is masked there stays as it is."""
        since, size = stretch_place(params)
        start = params["start"].unsqueeze(1)
        slack = share(batch, params["steps"]).unsqueeze(1) - size + 1
        moved = ((start + (params["away"] * slack).ceil().long()) % slack) + since
        moved = moved.clamp(0, params["steps"] - 1)
        index = moved.unsqueeze(1).expand_as(batch.values)
        found = batch.values[params["other"]].gather(2, index)
        real = real_steps(batch)
        if real is None:
            return found
        seen = real[params["other"]].gather(1, moved)
        return torch.where(seen.unsqueeze(1), found, batch.values)


@dataclass(frozen=True, kw_only=True)
class LocalWarp(Injection):
    """Play a stretch faster or slower than it was: another frequency at the same level.

    A faster one reaches its end early and runs back; the step after the stretch is where it was.
    """

    fraction: tuple[Fraction, Fraction] = (0.2, 0.6)
    rate: tuple[Annotated[float, Gt(1), Le(10)], Annotated[float, Gt(1), Le(10)]] = (1.5, 3.0)
    """How many times faster, or slower, drawn uniformly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "rate")

    def own(self, batch: Batch, rng: Rng) -> Params:
        """Draw `rate` (B, 1), below 1 where it is slower."""
        rate = rng.uniform(len(batch), *self.rate, 1)
        return {"rate": torch.where(rng.bernoulli(len(batch), 0.5, 1), rate, 1 / rate)}

    def inject(self, batch: Batch, params: Params) -> Tensor:
        """Read at the moved positions; where these meet masked steps nothing changes."""
        since, size = stretch_place(params)
        last = size - 1.0
        moved = (since.clamp(min=0) * params["rate"]).remainder((2 * last).clamp(min=1))
        moved = (last - (moved - last).abs()).clamp(min=0)
        real = real_steps(batch)
        found, seen = resample_at(batch.values, params["start"].unsqueeze(1) + moved, real)
        return found if seen is None else torch.where(seen.unsqueeze(1), found, batch.values)


def _held(batch: Batch, start: Tensor) -> Tensor:
    """Return (B, C, 1), the last real value up to step `start` (B,); 0 where there is none."""
    rows, channels, steps = batch.values.shape
    at, real = start.unsqueeze(1), real_steps(batch)
    if real is not None:
        own = torch.arange(steps, device=start.device)
        at = torch.where(real, own, 0).cummax(1).values.gather(1, at)
    return batch.values.gather(2, at.unsqueeze(1).expand(rows, channels, 1))
