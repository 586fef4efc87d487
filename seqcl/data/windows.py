"""Windows: which steps each row of a dataset covers, computed, never stored.

Windows start at 0, hop, 2 hop, ... of each recording; where the last of them ends before the
recording does, one more is aligned to the end. So every step lies in a window (for a hop of at
most the window), every window is whole, and none crosses into another recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.data.compact import Mapped

__all__ = ["Span", "Windows"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """N stretches of steps: `recording`, `start` and `length`, (N,) each."""

    recording: Ints
    start: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.recording)

    def __getitem__(self, rows: slice | Ints) -> Span:
        return Span(self.recording[rows], self.start[rows], self.length[rows])

    def joined(self) -> Span:
        """Join stretches that touch or overlap; they must be sorted by recording, then start."""
        stop = self.start + self.length
        fresh = np.ones(len(self), dtype=bool)
        fresh[1:] = (np.diff(self.recording) > 0) | (self.start[1:] > stop[:-1])
        first = np.flatnonzero(fresh)
        last = np.append(first[1:], len(self)) - 1
        return Span(self.recording[first], self.start[first], stop[last] - self.start[first])

    def cut(self, steps: int) -> Span:
        """Cut stretches into pieces of at most `steps`."""
        counts = -(-self.length // steps)
        owner = np.repeat(np.arange(len(self)), counts)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        offset = within * steps
        length = np.minimum(self.length[owner] - offset, steps)
        return Span(self.recording[owner], self.start[owner] + offset, length)


class Windows:
    """The windows of R recordings of at least `window` steps; memory grows with R only.

    Args:
        lengths: (R,) steps of each recording.
        window: steps of a window; None = one row for each whole recording.
        hop: steps from one start to the next; None = `window`.
    """

    def __init__(self, lengths: Ints, window: int | None = None, hop: int | None = None) -> None:
        if window is not None and len(lengths) and int(lengths.min()) < window:
            raise ValueError(f"a recording of {lengths.min()} steps is below the window {window}")
        self.lengths = lengths
        self.window = window
        self.hop = hop or window or 1
        counts = np.ones_like(lengths) if window is None else -(-(lengths - window) // self.hop) + 1
        self._ends: Ints = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def locate(self, rows: Ints) -> Span:
        """Return where rows lie."""
        recording = np.searchsorted(self._ends, rows, side="right")
        if self.window is None:
            return Span(recording, np.zeros_like(rows), self.lengths[recording])
        first = np.where(recording > 0, self._ends[recording - 1], 0)
        start = np.minimum((rows - first) * self.hop, self.lengths[recording] - self.window)
        return Span(recording, start, np.full_like(rows, self.window))

    def rows(self, recording: int) -> range:
        """Return the rows of one recording."""
        return range(int(self._ends[recording - 1]) if recording else 0, int(self._ends[recording]))

    def spans(self, recording: int) -> Sequence[tuple[int, int]]:
        """Return (start, stop) of each window of one recording."""
        length = int(self.lengths[recording])
        window = self.window or length

        def spans(places: Ints) -> list[tuple[int, int]]:
            starts = np.minimum(places * self.hop, length - window)
            return list(zip(starts.tolist(), (starts + window).tolist(), strict=True))

        return Mapped(spans, len(self.rows(recording)))
