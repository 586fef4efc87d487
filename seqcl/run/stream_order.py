"""The order of a stream's rows: gaps, late rows, a clock set back, rows seen before a restart."""

from __future__ import annotations

from collections.abc import Iterable

from seqcl.modalities.sequence.timestamps import GAP_STEPS
from seqcl.run.stream_grid import StreamGrid

__all__ = ["StreamOrder"]

_LATE = 5
"""Late rows in a row, in the order of time, after which the clock is taken to be theirs."""


class StreamOrder:
    """Compares the time stamp of each row, in nanoseconds, with that of the last that was kept.

    Args:
        step_ns: usual step from one row to the next; None = unknown.
        grid: intervals that rows are brought to, which may hold several; None = none.
    """

    def __init__(self, step_ns: float | None, grid: StreamGrid | None) -> None:
        self._grid = grid
        self._step = step_ns if grid is None else grid.every_ns
        self.last: int | None = None
        """Time of the last row that was kept."""
        self.first: int | None = None
        """Time of the earliest row that was kept."""
        self._late: list[int] = []
        self._seen: frozenset[int] = frozenset()

    def resume(self, first: int | None, last: int | None, times: Iterable[int]) -> None:
        """Go on after `last`; rows from `first` on may come once more, those of `times` for sure.

        A `first` that is unknown is as early as any.
        """
        self.first, self.last = first, last
        self._seen = frozenset(times) | ({self._start(last)} if last is not None else set())

    def was_seen(self, time: int) -> bool:
        """Tell whether a row is one of before the restart; none is, once a newer one has come.

        Rows older than all that is remembered are, but not those from before the stream began:
        there the clock was set back.
        """
        if not self._seen or self.last is None or time > self.last:
            self._seen = frozenset()
            return False
        if self.first is not None and time < self.first:
            return False
        return self._start(time) in self._seen or self.is_forgotten(time)

    def is_forgotten(self, time: int) -> bool:
        """Tell whether a row is older than all that is remembered of before the restart."""
        return bool(self._seen) and self._start(time) < min(self._seen)

    def fault(self, time: int) -> str:
        """Say why a row is left out; nothing where it is the next one."""
        apart = self._apart(time)
        if apart is None:
            return ""
        if apart < 0:
            if self._late and time < self._late[-1]:
                self._late = []
            if time not in self._late:
                self._late.append(time)
            return "it is late"
        double = apart == 0 and self._grid is None
        return "its time stamp is that of the last row" if double else ""

    def gap(self, time: int) -> float | None:
        """Return the seconds since the last row where that is a gap."""
        apart = self._apart(time)
        if apart is None or self._step is None or apart <= GAP_STEPS * self._step:
            return None
        return apart / 1e9

    def intervals(self, time: int) -> int:
        """Return how many intervals of the grid lie from that of the last row to that of `time`."""
        apart = self._apart(time)
        return 0 if apart is None or self._grid is None else apart // self._grid.every_ns

    def keep(self, time: int | None) -> None:
        """Take the row as the last one."""
        self.last, self._late = time, []
        if time is not None:
            self.first = time if self.first is None else min(self.first, time)

    def set_back(self) -> int | None:
        """Return the time of the last late row, where so many came that the clock is theirs."""
        return self._late[-1] if len(self._late) >= _LATE else None

    def _start(self, time: int) -> int:
        return time if self._grid is None else time // self._grid.every_ns * self._grid.every_ns

    def _apart(self, time: int) -> int | None:
        return None if self.last is None else self._start(time) - self._start(self.last)
