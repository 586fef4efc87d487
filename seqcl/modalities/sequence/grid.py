"""Grid: rows at any times as one row for each interval of a regular grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.modalities.sequence.timestamps import DisorderError

__all__ = ["Grid", "OverlongError"]

Structured = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

_FEW = 10_000
"""Intervals that are never too many."""
_PER_ROW = 100
"""Intervals for each row above which a grid is refused: 99 of 100 would be empty."""


class OverlongError(ValueError):
    """A grid of far more intervals than there are rows."""

    def __init__(self, intervals: int, rows: int) -> None:
        super().__init__(f"{intervals} intervals of {rows} rows")
        self.intervals, self.rows = intervals, rows


class Grid:
    """Takes rows block by block and gives intervals as they close; the last one stays open.

    An interval has the mean of the values present in it, channel by channel, NaN where there are
    none, and its start as its time. Intervals are counted from 1970-01-01 in UTC, so that every
    file, and a stream that is taken up again, has the same grid. Between the first interval and
    the last none is left out. What comes out is the same however rows are cut into blocks.

    Args:
        every_ns: length of an interval.
        channels: C.
        labelled: rows have a code of a label; an interval has the ``label`` of the highest rank
            and the ``last`` that is there, both -1 where there is none.
        gapless: whether intervals without rows come out too.
        bounded: whether a grid that is far longer than its rows are many is refused.

    Attributes:
        dtype: of intervals: ``values`` (C,) float32, ``time`` and, where labelled, both codes.
        rows: how many were taken.
        intervals: how many have come out.
        empty: how many of them had no rows.
    """

    def __init__(
        self, every_ns: int, channels: int, *, labelled: bool = False, bounded: bool = True,
        gapless: bool = True,
    ) -> None:  # fmt: skip
        self.every_ns, self.labelled, self.bounded = every_ns, labelled, bounded
        self.gapless = gapless
        codes = [("label", "<i4"), ("last", "<i4")] if labelled else []
        self.dtype = np.dtype([("values", "<f4", (channels,)), ("time", "<i8"), *codes])
        self.rows = self.intervals = self.empty = 0
        self._sums = np.empty((0, channels), np.float64)  # of the open interval, one row or none
        self._counts = np.empty((0, channels), np.int64)
        self._at = np.empty(0, np.int64)
        self._labels = np.empty((0, 2), np.int64)

    @property
    def open_start(self) -> int | None:
        """Where the open interval begins, in nanoseconds; None where there is none."""
        return int(self._at[0]) * self.every_ns if len(self._at) else None

    def push(
        self,
        values: npt.NDArray[np.float32],
        times: Ints,
        codes: npt.NDArray[np.int32] | None = None,
        ranks: Ints | None = None,
    ) -> Structured:
        """Take rows (n, C) with their times (n,); return the intervals that they close.

        `codes` (n,) are labels, -1 = none; `ranks` (K,) their order. Within an interval rows may
        come in any order. Raises DisorderError for one of an interval that is closed, and
        OverlongError, where it is bounded.
        """
        if not len(times):
            return np.empty(0, self.dtype)
        at = times // self.every_ns
        self._check_order(at, times)
        starts = np.flatnonzero(np.diff(at, prepend=at[0] - 1))
        present = ~np.isnan(values)
        sums = np.add.reduceat(np.where(present, values, 0).astype(np.float64), starts, axis=0)
        counts = np.add.reduceat(present.astype(np.int64), starts, axis=0)
        labels = np.empty((len(starts), 2), np.int64)
        if codes is not None and ranks is not None:
            labels = _labels(codes, starts, ranks)
        self.rows += len(times)
        self._merge(at[starts], sums, counts, labels, ranks)
        return self._closed(len(self._at) - 1)

    def flush(self) -> Structured:
        """Close the interval that is open; the next rows may be of any time."""
        return self._closed(len(self._at))

    def state(self) -> dict[str, Any]:
        """Return what it remembers of the open interval, in plain values."""
        return {
            "at": self._at.tolist(), "sums": self._sums.tolist(), "counts": self._counts.tolist(),
            "every_ns": self.every_ns,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; raises ValueError where it is that of another grid."""
        channels = self._sums.shape[1]
        if state["every_ns"] != self.every_ns:
            raise ValueError(f"intervals of {state['every_ns']} ns, not {self.every_ns}")
        self._at = np.array(state["at"], np.int64)
        self._sums = np.array(state["sums"], np.float64).reshape(len(self._at), channels)
        self._counts = np.array(state["counts"], np.int64).reshape(len(self._at), channels)

    def _check_order(self, at: Ints, times: Ints) -> None:
        before = (
            np.concatenate([self._at, at[:-1]]) if len(self._at) else np.append(at[:1], at[:-1])
        )
        back = at < before
        if back.any():
            row = int(np.argmax(back))
            last = times[row - 1] if row else before[0] * self.every_ns
            raise DisorderError(row, int(last), int(times[row]))

    def _merge(
        self,
        at: Ints,
        sums: npt.NDArray[np.float64],
        counts: Ints,
        labels: Ints,
        ranks: Ints | None,
    ) -> None:
        """Put new intervals behind the open one, into which the first of them may go."""
        if len(self._at) and at[0] == self._at[0]:
            sums[0] += self._sums[0]
            counts[0] += self._counts[0]
            if ranks is not None:
                labels[0] = _joined(self._labels[0], labels[0], ranks)
            self._at, self._sums, self._counts, self._labels = at, sums, counts, labels
            return
        self._at = np.concatenate([self._at, at])
        self._sums = np.concatenate([self._sums, sums])
        self._counts = np.concatenate([self._counts, counts])
        if self.labelled:
            self._labels = np.concatenate([self._labels, labels])

    def _closed(self, count: int) -> Structured:
        """Take out the first `count` intervals, with the empty ones up to the one behind them."""
        if count < 1:
            return np.empty(0, self.dtype)
        first = int(self._at[0])
        if not self.gapless:
            return self._taken(count, self._at[:count] * self.every_ns, np.arange(count))
        stop = int(self._at[count]) if count < len(self._at) else int(self._at[-1]) + 1
        total = self.intervals + stop - first
        is_long = stop - first > count and total > max(_FEW, _PER_ROW * self.rows)
        if self.bounded and is_long:
            raise OverlongError(total, self.rows)
        return self._taken(count, np.arange(first, stop) * self.every_ns, self._at[:count] - first)

    def _taken(self, count: int, times: Ints, places: Ints) -> Structured:
        """Take out the first `count` intervals, to stand at `places` among `times`."""
        out = np.empty(len(times), self.dtype)
        out["values"] = np.nan
        out["time"] = times
        counts = self._counts[:count]
        means = np.full(counts.shape, np.nan)
        np.divide(self._sums[:count], counts, out=means, where=counts > 0)
        out["values"][places] = means
        if self.labelled:
            for column, name in enumerate(("label", "last")):
                out[name] = -1
                out[name][places] = self._labels[:count, column]
        self.intervals, self.empty = self.intervals + len(out), self.empty + len(out) - count
        self._at, self._labels = self._at[count:], self._labels[count:]
        self._sums, self._counts = self._sums[count:], self._counts[count:]
        return out


def _labels(codes: npt.NDArray[np.int32], starts: Ints, ranks: Ints) -> Ints:
    """Return (n, 2) for n stretches: the code of the highest rank, and the last one there is."""
    ranked = np.append(ranks, -1)[codes]  # -1, no label, is below all
    by_rank = np.append(np.argsort(ranks), -1)
    rows = np.where(codes >= 0, np.arange(len(codes)), -1)
    last = np.maximum.reduceat(rows, starts)
    known = last >= starts
    return np.stack(
        [
            by_rank[np.maximum.reduceat(ranked, starts)],
            np.where(known, codes[last], -1),
        ],
        axis=1,
    ).astype(np.int64)


def _joined(before: Ints, after: Ints, ranks: Ints) -> Ints:
    """Return highest and last code of a stretch that goes on."""
    ranked = np.append(ranks, -1)
    highest = before[0] if ranked[before[0]] > ranked[after[0]] else after[0]
    return np.array([highest, after[1] if after[1] >= 0 else before[1]], np.int64)
