"""The steps of opening a dataset: scan its sources, check lengths, channels, rates, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqcl.batch import Axes, Entry, Label, Size, sorted_labels
from seqcl.data.channels import match_channels
from seqcl.data.duration import duration_ns
from seqcl.data.options import DataOptions
from seqcl.data.reader import Reader
from seqcl.data.recordings import Recordings, RecordingsBuilder
from seqcl.data.source import Skipped
from seqcl.data.sources import make_source
from seqcl.data.windows import Windows
from seqcl.errors import DataError, TooLongError

__all__ = [
    "MEMORY_LIMIT",
    "check_skipped",
    "common_rate",
    "common_size",
    "drop_short",
    "place_channels",
    "scan",
    "window_labels",
]

Ints = npt.NDArray[np.int64]

MEMORY_LIMIT = 2 << 30
"""Bytes of values that are kept in memory, of files that cannot be read window by window."""

_RATE_TOLERANCE = 0.01


def scan(sources: Sequence[str], options: DataOptions) -> tuple[Recordings, list[Skipped]]:
    """Find every recording of every source; an id that is taken gets its source before it.

    Raises DataError where nothing was found or too many files were skipped.
    """
    builder = RecordingsBuilder()
    skipped: list[Skipped] = []
    taken: set[str] = set()
    for place, text in enumerate(sources):
        if text in sources[:place]:
            raise DataError(f"{text}: is given twice; each record would count twice: leave one out")
        source = make_source(text, options)
        mine: set[str] = set()
        for reader, entry in source.entries():
            file = entry.id.partition("#")[0]
            mine.add(file)
            _check_grid(entry, options)
            builder.add(_distinct(entry, text) if file in taken else entry, reader)
        taken |= mine
        skipped += source.skipped
    recordings = builder.build()
    check_skipped(skipped, len(set(recordings.files)), options, "files cannot be read")
    if not len(recordings):
        raise DataError(f"{' '.join(sources)}: no recording in there; give files that hold data")
    if options.pair is not None and not recordings.pair_names:
        raise DataError(
            f"{' '.join(sources)}: no recording has a pair mark, asked for by data.pair="
            f"{options.pair}; only .npz files and labels.csv hold them"
        )
    return recordings, skipped


def _check_grid(entry: Entry, options: DataOptions) -> None:
    """Raise DataError for a recording that is not on the grid that is asked for."""
    if options.every is None:
        return
    rate = 1e9 / duration_ns(options.every)
    if entry.rate_hz is None or abs(entry.rate_hz - rate) > _RATE_TOLERANCE * rate:
        found = "" if entry.rate_hz is None else f" (and {entry.rate_hz:g} Hz)"
        raise DataError(
            f"{entry.id}: holds no time stamps{found}, which data.every={options.every} needs; "
            "give a table (CSV, TSV, Parquet) with a column of times, or drop data.every"
        )


def _distinct(entry: Entry, text: str) -> Entry:
    path = Path(text)
    folder = path.parent if entry.id.startswith(path.name) else path
    return replace(entry, id=f"{folder.as_posix()}/{entry.id}")


def check_skipped(skipped: Sequence[Skipped], kept: int, options: DataOptions, fault: str) -> None:
    """Raise DataError where `skipped` is a larger part than the options allow."""
    total = len(skipped) + kept
    if skipped and (not kept or len(skipped) > options.max_skipped * total):
        raise DataError(
            f"{skipped[0].reason} ({len(skipped)} of {total} {fault}; "
            f"data.max_skipped={options.max_skipped:g} allows {options.max_skipped:.0%})"
        )


def drop_short(
    recordings: Recordings, options: DataOptions, extra_steps: int
) -> tuple[Recordings, list[Skipped]]:
    """Leave out recordings shorter than a window (or empty); the only one is an error.

    Raises TooLongError for a recording that is too long to be taken whole.
    """
    lengths = recordings.lengths
    if options.window is None and all(layout.size is None for layout in recordings.layouts):
        longest = int(lengths.argmax())
        if lengths[longest] > options.max_steps:
            raise TooLongError(
                f"{recordings.ids[longest]}: has {lengths[longest]} steps, too many for one "
                f"record; cut it, set data.window (steps of a window), or raise data.max_steps="
                f"{options.max_steps}"
            )
    short = np.flatnonzero(lengths < (options.window + extra_steps if options.window else 1))
    skipped = [
        Skipped(recordings.ids[row], _too_short(recordings, row, options, extra_steps))
        for row in short.tolist()
    ]
    fault = "recordings are too short" if options.window else "recordings hold no value"
    check_skipped(skipped, len(recordings) - len(short), options, fault)
    if not skipped:
        return recordings, []
    return recordings.take(np.setdiff1d(np.arange(len(recordings)), short)), skipped


def _too_short(recordings: Recordings, row: int, options: DataOptions, extra: int) -> str:
    identity, length = recordings.ids[row], int(recordings.lengths[row])
    if options.window is None:
        return f"{identity}: has no step with a value; drop it or fill it"
    more = f" and the {extra} steps beyond it that the views read" if extra else ""
    at_most = max(length - extra, 1)
    return (
        f"{identity}: has {length} steps, fewer than data.window={options.window}{more}; "
        f"set data.window={at_most} or less"
    )


def place_channels(
    recordings: Recordings, wanted: Sequence[str] | None
) -> tuple[tuple[str, ...], bool, tuple[Ints, ...]]:
    """Return the channels, whether they are named, and the places of them in each layout.

    `wanted` None takes the channels of the first recording. Raises DataError naming the file
    whose channels differ.
    """
    first_rows = [int(np.argmax(recordings.layout == k)) for k in range(len(recordings.layouts))]
    channels = recordings.layouts[int(recordings.layout[0])].channels if wanted is None else wanted
    places = tuple(
        match_channels(
            channels, layout.channels, named=layout.named, where=recordings.ids[first_rows[number]]
        )
        for number, layout in enumerate(recordings.layouts)
    )
    return tuple(channels), all(layout.named for layout in recordings.layouts), places


def common_rate(recordings: Recordings) -> float | None:
    """Return the sampling rate of all recordings in Hz; None where no file tells one.

    Raises DataError where two differ by more than 1 %: a window would mean different times.
    """
    known = np.flatnonzero(~np.isnan(recordings.rates))
    if not len(known):
        return None
    low = int(known[recordings.rates[known].argmin()])
    high = int(known[recordings.rates[known].argmax()])
    if recordings.rates[high] > recordings.rates[low] * (1 + _RATE_TOLERANCE):
        raise DataError(
            f"{recordings.ids[high]} has {recordings.rates[high]:g} Hz and {recordings.ids[low]} "
            f"has {recordings.rates[low]:g} Hz; resample them to one rate "
            "(data.rate_hz does so for audio files) or give them apart"
        )
    return float(recordings.rates[known[0]])


def common_size(recordings: Recordings, axes: Axes | None) -> Size | None:
    """Return height and width of all images; None for series.

    Raises DataError where two sizes differ, where images and series are mixed, or where they are
    not what `axes` says.
    """
    first = recordings.layouts[int(recordings.layout[0])]
    found = "CT" if first.size is None else "CHW"
    if axes not in (None, found):
        names = {"CT": "a series", "CHW": "an image"}
        wanted = {"CT": "sequence", "CHW": "image"}[found]
        raise DataError(
            f"{recordings.ids[0]}: is {names[found]}, and this preset is for "
            f"{names[axes or found]}; use a preset of modality {wanted}"
        )
    for number, layout in enumerate(recordings.layouts):
        if layout.size == first.size:
            continue
        other = int(np.argmax(recordings.layout == number))
        if first.size is None or layout.size is None:
            raise DataError(
                f"{recordings.ids[0]} and {recordings.ids[other]}: one is an image and one a "
                "series; give them apart"
            )
        a, b = (" x ".join(map(str, size)) for size in (first.size, layout.size))
        height, width = np.minimum(first.size, layout.size).tolist()
        raise DataError(
            f"{recordings.ids[0]} is {a} and {recordings.ids[other]} is {b} (height x width); set "
            f"data.size=[{height},{width}] to resize all of them"
        )
    return first.size


def window_labels(
    recordings: Recordings, windows: Windows
) -> tuple[tuple[Label, ...], Ints | None]:
    """Return the classes, and the code of each window where a reader labels windows itself."""
    readers = {file.reader for file in recordings.files if file.reader is not None}
    if all(type(reader).labels is Reader.labels for reader in readers):
        return recordings.classes, None
    codes: dict[Label, int] = {}
    column = np.full(len(windows), -1, dtype=np.int64)
    for row in range(len(recordings)):
        labels = recordings.reader(row).labels(recordings.entry(row), windows.spans(row))
        column[windows.rows(row)] = [
            -1 if label is None else codes.setdefault(label, len(codes)) for label in labels
        ]
    classes = sorted_labels(codes)
    order = {label: place for place, label in enumerate(classes)}
    table = np.array([order[label] for label in codes] + [-1], dtype=np.int64)
    return classes, table[column]
