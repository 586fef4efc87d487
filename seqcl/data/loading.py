"""Loading recordings into memory, where that is what their reader is best at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seqcl.data.opening import MEMORY_LIMIT
from seqcl.data.recordings import File, Recordings
from seqcl.data.source import Skipped
from seqcl.data.values import FileValues, MemoryValues
from seqcl.errors import DataError

__all__ = [
    "drop_unreadable",
    "fits_in_memory",
    "load",
    "modality_of",
    "must_be_tried",
    "reader_notes",
    "without_readers",
]

_PIECE = 1 << 22
"""Steps of a recording that are decoded at once where all of it is tried."""


def fits_in_memory(recordings: Recordings, channels: int) -> bool:
    """Whether values are to be kept: they are not too many, and no reader seeks at no cost."""
    lazy = any(
        file.reader is None or (file.reader.lazy and not file.reader.decodes)
        for file in recordings.files
    )
    return not lazy and 4 * channels * int(recordings.lengths.sum()) <= MEMORY_LIMIT


def load(
    recordings: Recordings, files: FileValues, channels: int
) -> tuple[Recordings, MemoryValues, list[Skipped]]:
    """Read every recording into one array; one that cannot be read is left out, with why."""
    total, longest = int(recordings.lengths.sum()), int(recordings.lengths.max())
    flat = np.empty((channels, total + longest), dtype=np.float32)
    steps = {name: np.empty(total, dtype=np.int64) for name in ("times", "step_labels")}
    kept: list[int] = []
    offsets: list[int] = []
    skipped: list[Skipped] = []
    end = 0
    for row, length in enumerate(recordings.lengths.tolist()):
        try:
            record = files.record(row, 0, length)
        except DataError as error:
            if len(recordings) == 1:
                raise
            skipped.append(Skipped(recordings.ids[row], str(error)))
            continue
        kept.append(row)
        offsets.append(end)
        flat[:, end : end + length] = record.values
        for name in tuple(steps):
            part = getattr(record, name)
            if part is None:
                del steps[name]
            else:
                steps[name][end : end + length] = part
        end += length
    flat[:, end:] = np.nan
    values = MemoryValues(flat, np.array(offsets, dtype=np.int64), steps)
    whole = recordings if not skipped else recordings.take(np.array(kept, dtype=np.int64))
    return whole, values, skipped


def modality_of(recordings: Recordings) -> str:
    """Return the modality of the files, that of the first one's reader."""
    reader = recordings.files[0].reader
    return "sequence" if reader is None else reader.modality


def must_be_tried(recordings: Recordings) -> bool:
    """Whether damage shows only where recordings are decoded."""
    return any(file.reader is not None and file.reader.decodes for file in recordings.files)


def drop_unreadable(recordings: Recordings, files: FileValues) -> tuple[Recordings, list[Skipped]]:
    """Decode every recording once and leave out those that cannot be: a header tells too little."""
    kept: list[int] = []
    skipped: list[Skipped] = []
    for row, length in enumerate(recordings.lengths.tolist()):
        image = recordings.layouts[int(recordings.layout[row])].size is not None
        step = length if image else _PIECE
        try:
            for start in range(0, length, step):
                files.record(row, start, min(start + step, length))
        except DataError as error:
            skipped.append(Skipped(recordings.ids[row], str(error)))
        else:
            kept.append(row)
    return recordings.take(np.array(kept, dtype=np.int64)), skipped


def without_readers(recordings: Recordings) -> Recordings:
    """Forget the readers and what they cache, once all values are in memory."""
    return replace(recordings, files=tuple(File(file.path, None) for file in recordings.files))


def reader_notes(recordings: Recordings, in_memory: bool) -> list[str]:
    """Return what the readers noted, and whether whole files are read again and again."""
    readers = {id(file.reader): file.reader for file in recordings.files if file.reader}
    notes = [note for reader in readers.values() for note in reader.remarks()]
    return notes if in_memory else notes + _slow_files(recordings)


def _slow_files(recordings: Recordings) -> list[str]:
    slow = [file.path for file in recordings.files if file.reader and not file.reader.lazy]
    if not slow:
        return []
    return [
        f"{len(slow)} files, first {slow[0].name}, are too large for memory and may be opened "
        "whenever a record is read; one store (.h5) is read faster"
    ]
