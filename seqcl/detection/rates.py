"""False-alarm rates as people ask for them: a share of rows, or alarms a day."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from seqcl.errors import DataError, UsageError

__all__ = ["AskedRate", "rounded_up", "rows_per_day"]

_DAY_NS = 86_400 * 10**9
_PERIODS = {"hour": 24.0, "day": 1.0, "week": 1 / 7}


@dataclass(frozen=True)
class AskedRate:
    """A false-alarm rate that was asked for."""

    value: float
    unit: Literal["share", "day"]
    """Share of rows in (0, 1), or alarms a day."""
    period: str = "day"
    """In which alarms were asked for: hour, day or week."""

    @classmethod
    def parse(cls, text: str) -> AskedRate:
        """Read ``0.5%``, ``0.005`` (both a share of rows), ``1/day``, ``2/hour`` or ``1/week``.

        Raises UsageError for anything else, and for a rate that is not above 0.
        """
        found = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(%|/\s*(hour|day|week))?\s*", text)
        try:
            value = float(found[1]) if found else 0.0
        except ValueError:
            value = 0.0
        unit = found[2] if found else None
        if found and found[3]:
            asked = cls(value * _PERIODS[found[3]], "day", found[3])
        else:
            asked = cls(value / 100 if unit == "%" else value, "share")
        if not 0 < asked.value < (1 if asked.unit == "share" else np.inf):
            raise UsageError(
                f"false-alarm rate {text!r}; give a share of rows (0.5%) or alarms a day (1/day)"
            )
        return asked

    def per_row(self, rows_a_day: float | None) -> float:
        """Return the share of rows, or the alarms a row; UsageError if a day has no length."""
        if self.unit == "share":
            return self.value
        if rows_a_day is None:
            raise UsageError(
                f"false-alarm rate {self.value:g}/day needs time stamps or a rate; the data have "
                "neither: ask for a share of rows (0.5%)"
            )
        return self.value / rows_a_day

    def told(self, per_row: float, rows_a_day: float | None) -> str:
        """Return a rate as `per_row` gives it in the unit that was asked for, rounded up."""
        if self.unit == "share" or rows_a_day is None:
            return f"{rounded_up(100 * per_row):g}% of rows"
        return f"{rounded_up(per_row * rows_a_day / _PERIODS[self.period]):g}/{self.period}"


def rounded_up(rate: float) -> float:
    """Return a rate above 0 with three digits, never less than it is."""
    if rate <= 0:
        return 0.0
    digits = 2 - math.floor(math.log10(rate))
    return math.ceil(round(rate * 10.0**digits, 6)) / 10.0**digits


def rows_per_day(
    *, rate_hz: float | None = None, times: npt.NDArray[np.int64] | None = None
) -> float | None:
    """Return the rows of a day from time stamps (T,) in nanoseconds, or the rate; else None.

    With time stamps, from the median step between two: a gap in the recording is no slower rate.
    Raises DataError where time does not move on.
    """
    if times is not None and len(times) > 1:
        step = float(np.median(np.diff(times)))
        if step <= 0:
            raise DataError("time stamps do not rise; sort the rows by time")
        return _DAY_NS / step
    return None if rate_hz is None else rate_hz * 86_400
