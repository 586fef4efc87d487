"""Time stamps: columns to nanoseconds since 1970, their order, their rate and their gaps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Clock", "DisorderError", "Timing", "is_time", "timing"]

Times = npt.NDArray[np.int64]

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
UNITS = ((9e9, SECOND), (9e12, 1_000_000), (9e15, 1_000))
"""Unix time below 9e9 is seconds (until the year 2255, near the end of int64 nanoseconds), then
milliseconds, microseconds, nanoseconds."""
GAP_STEPS = 1.5

_ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)?")
_DOTTED = re.compile(r"(\d\d)\.(\d\d)\.(\d{4})(?=$|[ T])")
_ZONE = re.compile(r"(Z|:\d\d[^-+]*[+-]\d\d(:?\d\d)?)$")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def is_time(text: str) -> bool:
    """Tell whether `text` is a date and time: ``2024-05-31 13:45:00``, ``31.05.2024 13:45``."""
    return _ISO.fullmatch(_DOTTED.sub(r"\3-\2-\1", text.strip(), count=1)) is not None


class Clock:
    """Turns the blocks of one column into nanoseconds since 1970.

    Takes ISO text with or without zone, the same with a date such as 31.05.2024, unix time in s,
    ms, us or ns (told apart by size) and Arrow's own times; the first block decides which of them
    the column holds.

    Attributes:
        local: the stamps name no zone, so summer time may put them forward or back.
    """

    def __init__(self) -> None:
        self.local = False
        self._convert: Callable[[pa.Array], Times] | None = None

    def read(self, column: pa.Array) -> Times:
        """Return (T,) int64; raises ValueError(index) at the first stamp that is none."""
        if column.null_count:
            raise ValueError(int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))))
        try:
            if self._convert is None:
                self._convert = self._choose(column)
            return self._convert(column)
        except pa.ArrowInvalid:
            raise ValueError(self._first_fault(column)) from None

    def _choose(self, column: pa.Array) -> Callable[[pa.Array], Times]:
        kind = column.type
        if pa.types.is_temporal(kind):
            self.local = getattr(kind, "tz", None) is None
            return lambda block: _integers(
                block.cast(pa.timestamp("ns", getattr(kind, "tz", None)))
            )
        if not _is_text(kind):
            return _unix(column)
        first = column[0].as_py().strip()
        if _NUMBER.fullmatch(first):
            convert = _unix(_numbers(column))
            return lambda block: convert(_numbers(block))
        self.local = _ZONE.search(first) is None
        stamp = pa.timestamp("ns", None if self.local else "UTC")
        return lambda block: _integers(_iso(pc.utf8_trim_whitespace(block)).cast(stamp))

    def _first_fault(self, column: pa.Array) -> int:
        for index in range(len(column)):
            one = column.slice(index, 1)
            try:
                (self._convert or self._choose(one))(one)
            except pa.ArrowInvalid:
                return index
        return 0


def _numbers(texts: pa.Array) -> pa.Array:
    """Return whole numbers where all are, which hold every nanosecond, else floats."""
    try:
        return texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return texts.cast(pa.float64())


def _iso(texts: pa.Array) -> pa.Array:
    """Put the year of dates such as 31.05.2024 first; others stay."""
    return pc.replace_substring_regex(
        texts, r"^(\d\d)\.(\d\d)\.(\d{4})($|[ T])", r"\3-\2-\1\4", max_replacements=1
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _integers(stamps: pa.Array) -> Times:
    numbers: Times = np.asarray(stamps.cast(pa.int64()), dtype=np.int64)
    return numbers


def _unix(sample: pa.Array) -> Callable[[pa.Array], Times]:
    """Return what converts numbers of the size of `sample`."""
    largest = float(np.abs(np.asarray(sample, dtype=np.float64)).max(initial=0.0))
    unit = next((unit for limit, unit in UNITS if largest < limit), 1)

    def convert(block: pa.Array) -> Times:
        numbers: npt.NDArray[Any] = np.asarray(block)
        if numbers.dtype.kind in "iu":
            return numbers.astype(np.int64) * unit
        if not np.isfinite(numbers).all():
            raise ValueError(int(np.argmin(np.isfinite(numbers))))
        whole = np.floor(numbers)  # apart, since a float of seconds holds no nanoseconds
        rest = np.rint((numbers - whole) * unit)
        times: Times = whole.astype(np.int64) * unit + rest.astype(np.int64)
        return times

    return convert


class DisorderError(ValueError):
    """A stamp at `row` that is not after the one before it."""

    def __init__(self, row: int, before: int, after: int) -> None:
        super().__init__(f"row {row}: {after} after {before}")
        self.row, self.before, self.after = row, before, after


@dataclass(frozen=True, slots=True)
class Timing:
    """What the stamps of a recording tell."""

    rate_hz: float
    """One over the mean of the steps within half of their median, or over that without any."""
    gaps: int
    """Steps of more than 1.5 times the median."""
    longest_s: float
    longest_row: int
    """The row that the longest of them leads to."""


def timing(blocks: Iterable[Times], local: bool) -> Timing | None:
    """Check that stamps rise and measure them; None for fewer than two.

    Where they are `local`, an hour that summer time takes or gives is no disorder: one step
    back by an hour, or stamps of the missing hour that all became the hour after it.

    Raises DisorderError at the first stamp that is not after the one before it.
    """
    measure: _Measure | None = None
    for row, times in _overlapping(blocks):
        measure = measure or _Measure(np.diff(times), local)
        measure.take(row, times)
    return None if measure is None else measure.result()


def _overlapping(blocks: Iterable[Times]) -> Iterator[tuple[int, Times]]:
    """Yield blocks that begin with the last stamp of the one before, and the row of that stamp."""
    row, last = 0, np.empty(0, dtype=np.int64)
    for block in blocks:
        times = np.concatenate([last, block])
        if len(times) > 1:
            yield row - len(last), times
        row, last = row + len(block), times[-1:]


class _Measure:
    def __init__(self, steps: Times, local: bool) -> None:
        rising = steps[steps > 0] if (steps > 0).any() else np.array([SECOND])
        self.median = float(np.median(rising))
        usual = rising[np.abs(rising - self.median) <= self.median / 2]
        self.mean = float(usual.mean()) if len(usual) else self.median  # two sorts of steps
        self.local = local and self.median <= HOUR
        self.skipped_hour = np.empty(0, dtype=np.int64)
        self.gaps, self.longest, self.longest_row = 0, 0, 0

    def take(self, row: int, times: Times) -> None:
        steps = np.diff(times)
        rises = steps > 0
        if self.local:
            rises |= self._summer_time(times, steps)
        if not rises.all():
            bad = int(np.argmin(rises))
            raise DisorderError(row + bad + 1, int(times[bad]), int(times[bad + 1]))
        self.gaps += int((steps > GAP_STEPS * self.median).sum())
        if steps.max() > self.longest:
            self.longest, self.longest_row = int(steps.max()), row + int(steps.argmax()) + 1

    def _summer_time(self, times: Times, steps: Times) -> npt.NDArray[np.bool_]:
        set_back = np.abs(steps + HOUR - self.median) <= self.median / 4
        forward = np.abs(steps - HOUR - self.median) <= self.median
        self.skipped_hour = np.concatenate([self.skipped_hour, times[1:][forward]])
        result: npt.NDArray[np.bool_] = set_back | (
            (steps == 0) & np.isin(times[1:], self.skipped_hour)
        )
        return result

    def result(self) -> Timing:
        return Timing(SECOND / self.mean, self.gaps, self.longest / SECOND, self.longest_row)
