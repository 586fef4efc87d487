"""The grid of a stream: intervals come out as they close, and a long silence is not filled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.data.duration import duration_text
from seqcl.errors import ArtefactError
from seqcl.modalities.sequence.grid import Grid

__all__ = ["StreamGrid"]

_LONGEST = 100_000
"""Empty intervals in a row that are filled; beyond that the next one follows the last."""


class StreamGrid:
    """Makes intervals of the rows of a stream, the same as of the rows of a file.

    Args:
        every_ns: length of an interval.
        channels: C.
    """

    def __init__(self, every_ns: int, channels: int) -> None:
        self.every_ns = every_ns
        self._grid = Grid(every_ns, channels, bounded=False)

    def push(
        self, values: npt.NDArray[np.float32], times: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], list[int]]:
        """Take rows (n, C); return the values and starts of the intervals that they close.

        A time before that of the row before closes the open interval too, as a long silence does.
        """
        last = self._grid.open_start
        before = int(times[0]) if last is None else last
        steps = np.diff(times // self.every_ns, prepend=before // self.every_ns)
        cuts = np.flatnonzero((steps > _LONGEST) | (steps < 0))
        found: list[npt.NDArray[Any]] = []
        for part, stamps in zip(np.split(values, cuts), np.split(times, cuts), strict=True):
            if found:
                found.append(self._grid.flush())
            found.append(self._grid.push(part, stamps))
        closed = np.concatenate(found)
        return closed["values"], closed["time"].tolist()

    def flush(self) -> tuple[npt.NDArray[np.float32], list[int]]:
        """Close the interval that is open."""
        closed = self._grid.flush()
        return closed["values"], closed["time"].tolist()

    @property
    def summary(self) -> str:
        """How many rows became how many intervals."""
        grid = self._grid
        return (
            f"{grid.rows:,} rows in {grid.intervals:,} intervals of {duration_text(self.every_ns)} "
            f"({grid.empty:,} empty)"
        )

    def state(self) -> dict[str, Any]:
        """Return the open interval in plain values."""
        return self._grid.state()

    def restore(self, state: object) -> None:
        """Go on from `state`; raises ArtefactError where it is that of another grid."""
        try:
            self._grid.restore(state)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArtefactError(
                f"--state: was written with another data.every ({error}); start without it"
            ) from error
