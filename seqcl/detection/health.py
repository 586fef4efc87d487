"""Sensors that say nothing: missing for long, or stuck at one value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Fault", "Health", "longest_runs"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Kind = Literal["missing", "stuck"]


@dataclass(frozen=True)
class Fault:
    """A channel that is missing or stuck, when it is noticed and when it is over."""

    kind: Kind
    phase: Literal["begins", "ends"]
    channel: int
    row: int
    """Row of the change; the fault itself is older where it begins, by `rows`."""
    rows: int
    """Rows that it has lasted."""


def longest_runs(parts: Sequence[Floats]) -> tuple[Ints, Ints]:
    """Return the longest run of missing and of equal values (C,) in recordings (T, C).

    Equal are values that follow each other once missing ones are left out.
    """
    missing = np.zeros(parts[0].shape[1], np.int64)
    equal = np.ones(parts[0].shape[1], np.int64)
    for part in parts:
        gaps = np.isnan(part)
        missing = np.maximum(missing, _longest(gaps))
        for channel, present in enumerate(~gaps.T):
            values = part[present, channel]
            same = values[1:] == values[:-1]
            equal[channel] = max(equal[channel], 1 + int(_longest(same[:, None])[0]))
    return missing, equal


def _longest(flags: npt.NDArray[np.bool_]) -> Ints:
    """Return the longest run of true values in each column (T, C)."""
    row = np.arange(1, len(flags) + 1)[:, None]
    last = np.maximum.accumulate(np.where(flags, 0, row), 0)
    return np.asarray(np.where(flags, row - last, 0).max(0, initial=0), np.int64)


class Health:
    """Watches each channel for runs that normal operation never had.

    A channel is missing, or stuck, after twice the longest such run of the training data and one
    window. One that was constant in training is never called stuck.

    Args:
        missing, equal: (C,) longest runs in training, from `longest_runs`.
        constant: (C,) true where a channel never moved in training.
        window: rows of the detector's window.
    """

    def __init__(
        self, missing: Ints, equal: Ints, constant: npt.NDArray[np.bool_], window: int
    ) -> None:
        self._limits = {
            "missing": 2 * missing + window,
            "stuck": np.where(constant, np.iinfo(np.int64).max, 2 * equal + window),
        }
        self._runs = {kind: np.zeros(len(missing), np.int64) for kind in self._limits}
        self._last = np.full(len(missing), np.nan, np.float32)

    def exceeded(self, missing: Ints, equal: Ints) -> npt.NDArray[np.bool_]:
        """Tell for which channels runs (C,) of missing or of equal values are too long."""
        return np.asarray((missing > self._limits["missing"]) | (equal > self._limits["stuck"]))

    def push(self, row: int, values: Floats) -> list[Fault]:
        """Take one row (C,) and return the faults that begin or end with it."""
        gaps = np.isnan(values)
        runs = self._runs
        missing = np.where(gaps, runs["missing"] + 1, 0)
        stuck = np.where(gaps | (values == self._last), runs["stuck"] + ~gaps, 1)
        changed = [*self._changes("missing", missing, row), *self._changes("stuck", stuck, row)]
        self._runs = {"missing": missing, "stuck": stuck}
        self._last = np.where(gaps, self._last, values)
        return changed

    def _changes(self, kind: Kind, now: Ints, row: int) -> Iterator[Fault]:
        """Yield the channels whose runs pass their limit, or end beyond it."""
        before, limits = self._runs[kind], self._limits[kind]
        for channel in np.flatnonzero((before > limits) & (now <= limits)).tolist():
            yield Fault(kind, "ends", channel, row, int(before[channel]))
        for channel in np.flatnonzero((before <= limits) & (now > limits)).tolist():
            yield Fault(kind, "begins", channel, row, int(now[channel]))

    def state(self) -> dict[str, Any]:
        """Return what it remembers, as plain values."""
        last = [None if np.isnan(value) else float(value) for value in self._last]
        return {"last": last, **{kind: runs.tolist() for kind, runs in self._runs.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; raises ValueError where it is that of other channels."""
        last = np.array([np.nan if v is None else v for v in state["last"]], np.float32)
        runs = {kind: np.array(state[kind], np.int64) for kind in self._runs}
        shapes = {last.shape, *(array.shape for array in runs.values())}
        if shapes != {self._last.shape}:
            raise ValueError(f"health is not that of {len(self._last)} channels")
        self._last, self._runs = last, runs
