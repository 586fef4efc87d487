"""Ticks of an axis: rows in round numbers, times at round times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["row_ticks", "time_ticks"]

_WANTED = 8
_SECOND = 10**9
_STEPS_S = (
    0.001, 0.01, 0.1, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800,
    21_600, 43_200, 86_400, 2 * 86_400, 7 * 86_400, 14 * 86_400, 30 * 86_400,
    91 * 86_400, 365 * 86_400,
)  # fmt: skip


def row_ticks(rows: int) -> list[tuple[int, str]]:
    """Return rows 0, 500, 1,000, ... with their texts, some eight of them."""
    least = max(1.0, rows / _WANTED)
    power = 10.0 ** np.floor(np.log10(least))
    step = int(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least))
    return [(row, f"{row:,}") for row in range(0, rows, step)]


def time_ticks(times: npt.NDArray[np.int64]) -> list[tuple[int, str]]:
    """Return the first rows at or after round times, with their texts.

    The date is written where it is a new one, and always where steps are days or more.
    """
    first, last = int(times[0]), int(times[-1])
    wanted = (last - first) / _WANTED
    step = round(next((s for s in _STEPS_S if s * _SECOND >= wanted), _STEPS_S[-1]) * _SECOND)
    marks = np.arange(-(-first // step) * step, last + 1, step)
    rows = np.searchsorted(times, marks)
    found, day = [], ""
    for row, mark in zip(rows.tolist(), marks.tolist(), strict=True):
        date, clock = str(np.datetime64(mark, "ns")).split("T")
        text = date
        if step < 86_400 * _SECOND:
            precise = clock[:5] if step % (60 * _SECOND) == 0 else clock[:8]
            precise = clock[:12] if step < _SECOND else precise
            text = precise if date == day else f"{date[5:]} {precise}"
        found.append((row, text))
        day = date
    return found
