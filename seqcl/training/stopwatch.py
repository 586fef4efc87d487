"""Stopwatch: where the seconds of training go, so that a profile comes for free."""

from __future__ import annotations

from time import perf_counter

__all__ = ["Stopwatch"]


class Stopwatch:
    """Splits wall time into named parts: each `lap` closes the stretch since the one before.

    Exact on a CPU. On a GPU, which computes behind the program's back, a part holds the time to
    launch its work, and the wait falls to the part that reads a result (`log`).
    """

    def __init__(self) -> None:
        self._started = self._last = perf_counter()
        self._parts: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the stopwatch was made."""
        return perf_counter() - self._started

    def lap(self, part: str) -> None:
        """Count the time since the last lap as `part`."""
        now = perf_counter()
        self._parts[part] = self._parts.get(part, 0.0) + now - self._last
        self._last = now

    def split(self) -> dict[str, float]:
        """Return the seconds of each part since the last split, and begin again."""
        parts, self._parts = self._parts, {}
        return parts
