"""Values: the steps of recordings, from one array in memory or from their files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seqcl.batch import Entry, Record
from seqcl.data.reader import Reader
from seqcl.data.recordings import Recordings
from seqcl.data.windows import Span
from seqcl.errors import DataError

__all__ = ["FileValues", "MemoryValues", "Values"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Values(Protocol):
    """Reads stretches of recordings; an image is a stretch of its pixels, row by row."""

    def read(self, span: Span) -> Floats:
        """Return (N, C, longest): the values, NaN beyond each one's length."""
        ...

    def record(self, recording: int, start: int, stop: int) -> Record:
        """Return one stretch with all that is known of its steps."""
        ...

    def select(self, places: Ints) -> Values:
        """Return the same recordings with the channels at `places`, in that order."""
        ...

    def digest(self) -> bytes:
        """Return a hash of the values, or of what tells that their files are the same."""
        ...


class MemoryValues:
    """All recordings end to end in one array, gathered without a loop.

    Args:
        flat: (C, steps of all recordings + padding), where the padding is at least as long as
            the longest stretch that will be read.
        offsets: (R,) where each recording begins.
        steps: further arrays over the steps of all recordings, by the Record field they fill
            (``times``, ``step_labels``).
    """

    def __init__(
        self, flat: Floats, offsets: Ints, steps: Mapping[str, Ints] | None = None
    ) -> None:
        self.flat = flat
        self.offsets = offsets
        self.steps = dict(steps or {})

    def read(self, span: Span) -> Floats:
        """Return (N, C, longest)."""
        longest = int(span.length.max(initial=0))
        windows = np.lib.stride_tricks.sliding_window_view(self.flat, longest, axis=1)
        places = self.offsets[span.recording] + span.start
        values: Floats = windows.transpose(1, 0, 2)[places]  # (N, C, longest), a copy
        if int(span.length.min(initial=longest)) < longest:
            beyond = np.arange(longest) >= span.length[:, None]
            np.copyto(values, np.float32("nan"), where=beyond[:, None, :])
        return values

    def record(self, recording: int, start: int, stop: int) -> Record:
        """Return the values (a copy) and what else is kept of these steps."""
        first = int(self.offsets[recording])
        steps = {name: part[first + start : first + stop] for name, part in self.steps.items()}
        values = self.flat[:, first + start : first + stop].copy()
        return Record(values, id="", times=steps.get("times"), step_labels=steps.get("step_labels"))

    def select(self, places: Ints) -> MemoryValues:
        """Return the channels at `places`."""
        return MemoryValues(self.flat[places], self.offsets, self.steps)

    def digest(self) -> bytes:
        """Return a hash of all values."""
        digest = hashlib.sha256()
        for channel in self.flat:
            digest.update(channel.data)
        return digest.digest()


class FileValues:
    """Recordings read when they are needed; holds none of their values.

    Args:
        recordings: where they are.
        layouts: for each layout of `recordings`, the places of the wanted channels in it.
    """

    def __init__(self, recordings: Recordings, layouts: tuple[Ints, ...]) -> None:
        self.recordings = recordings
        self.layouts = layouts
        self._entry: tuple[int, Reader, Entry] | None = None

    def read(self, span: Span) -> Floats:
        """Return (N, C, longest), read in the order in which the files store them."""
        longest = int(span.length.max(initial=0))
        values = np.full((len(span), len(self.layouts[0]), longest), np.nan, dtype=np.float32)
        stops = span.start + span.length
        for row in np.lexsort((span.start, span.recording)).tolist():
            recording = int(span.recording[row])
            record = self._read(recording, int(span.start[row]), int(stops[row]))
            values[row, :, : record.values.shape[1]] = record.values[self._places(recording)]
        return values

    def record(self, recording: int, start: int, stop: int) -> Record:
        """Return what the reader gives, with the wanted channels as float32."""
        record = self._read(recording, start, stop)
        values = np.asarray(record.values[self._places(recording)], dtype=np.float32)
        return replace(record, values=values)

    def _read(self, recording: int, start: int, stop: int) -> Record:
        """Read; raises DataError where the file holds other than its scan promised."""
        reader, entry = self._found(recording)
        record = reader.read(entry, start, stop)
        if entry.size is not None and record.values.shape[1:] == entry.size:
            record = replace(record, values=record.values.reshape(len(record.values), -1))
        expected = (len(entry.channels), stop - start)
        if record.values.shape != expected:
            raise DataError(
                f"{entry.id}: steps {start} to {stop} are {record.values.shape} where {expected} "
                f"were promised; the file lies about its length or has changed since it was opened"
            )
        return record

    def _places(self, recording: int) -> Ints:
        return self.layouts[int(self.recordings.layout[recording])]

    def select(self, places: Ints) -> FileValues:
        """Return the channels at `places`."""
        return FileValues(self.recordings, tuple(layout[places] for layout in self.layouts))

    def digest(self) -> bytes:
        """Return a hash of names and sizes of the files: their values would take an epoch."""
        digest = hashlib.sha256()
        for file in self.recordings.files:
            size = file.path.stat().st_size if file.path.exists() else 0
            digest.update(f"{file.path.name} {size}\n".encode())
        return digest.digest()

    def _found(self, recording: int) -> tuple[Reader, Entry]:
        """Return reader and entry; windows of one recording come one after another."""
        if self._entry is None or self._entry[0] != recording:
            recordings = self.recordings
            self._entry = (recording, recordings.reader(recording), recordings.entry(recording))
        return self._entry[1:]
