"""Rows of a CSV stream as they come: a backlog together, a single one at once."""

from __future__ import annotations

import csv
import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcl.data.channels import match_channels
from seqcl.data.options import DataOptions
from seqcl.errors import DataError, UsageError
from seqcl.modalities.sequence.dialect import is_missing, is_number
from seqcl.modalities.sequence.tablefile import TIME_NAMES
from seqcl.modalities.sequence.timestamps import Clock, is_time
from seqcl.run.folder import Run

__all__ = ["StreamRow", "read_batches"]

_AT_ONCE = 256
"""Rows of a backlog that are scored together."""
_EARLIEST = 1e8
"""Unix time, in whatever unit, below which a number is taken for a reading."""
_LONGEST_LINE = 1 << 20
"""Bytes of a line that are kept; a longer one is no row."""


@dataclass(frozen=True)
class StreamRow:
    """A row of the stream, or what is wrong with it."""

    values: npt.NDArray[np.float32] | None
    time: int | None = None
    fault: str = ""
    infinite: tuple[int, ...] = ()
    """Places of channels that were beyond all numbers (float32), and are taken as missing."""


def read_batches(
    source: BinaryIO,
    run: Run,
    options: DataOptions,
    note: Callable[[str], None],
    wait: Callable[[BinaryIO], bool],
) -> Iterator[list[StreamRow]]:
    """Yield rows as they come: those of a backlog together, a single one at once.

    `wait` returns once there is something to read; false where the stream is to be left. Whole
    lines that were read by then are still yielded.
    """
    if options.sensor is not None:
        raise UsageError(
            "--stream: rows in long form (data.sensor) are not read live; write a row with a "
            "column for each sensor"
        )
    lines = _Lines(source, wait)
    header = lines.next()
    if header is None and lines.left:
        return
    if header is None:
        raise DataError("standard input: is empty; the first line names the columns")
    delimiter = options.delimiter or max(",;\t|", key=header.count)
    first = next(csv.reader([header.rstrip("\x00")], delimiter=delimiter))
    names = _names_of(first, run)
    if names is not first:
        note(f"the first line names no channel; its columns are taken to be {', '.join(names)}")
    parse = _Parser(names, delimiter, run, options.time)
    if options.every is not None and parse.time is None:
        raise DataError(
            f"standard input: has no time stamps, which data.every={options.every} needs; name "
            f"their column with data.time. Columns: {', '.join(names)}"
        )
    batch = [] if names is first else [parse(header)]
    while True:
        while len(batch) < _AT_ONCE and (not batch or lines.waiting()):
            line = lines.next()
            if line is None:
                break
            if line.strip():
                batch.append(parse(line))
        if not batch:
            return
        yield batch
        batch = []


def _names_of(first: list[str], run: Run) -> list[str]:
    """Return the first line's fields where they name channels, as a header does.

    What comes in the middle of a file (``tail -F``) has none: as many numbers as the run has
    channels, after a time stamp or without one, are taken to be in the order of training.
    """
    if {name.strip().lstrip("\ufeff") for name in first} & set(run.channels):
        return first
    values = first[len(first) - len(run.channels) :]
    timed = len(first) == len(run.channels) + 1 and _is_stamp(first[0])
    if not (timed or len(first) == len(run.channels)) or not all(
        is_missing(value) or is_number(value) for value in values
    ):
        return first
    return [*([TIME_NAMES[0]] if timed else []), *run.channels]


def _is_stamp(cell: str) -> bool:
    """Tell a time from a reading: a date, or unix time since 1973."""
    return is_time(cell) or (is_number(cell) and float(cell) >= _EARLIEST)


def _number(cell: str) -> float:
    """Return the number of a cell, NaN where it says that there is none, as in files."""
    if is_missing(cell):
        return np.nan
    if not is_number(cell):
        raise ValueError(f"could not convert string to float: {cell[:40]!r}")
    return float(cell)


class _Lines:
    """Lines of a stream, and whether another one is there already."""

    def __init__(self, source: BinaryIO, wait: Callable[[BinaryIO], bool]) -> None:
        self._source = source
        self._wait = wait
        self._buffer = b""
        self._ended = False
        self.left = False

    def next(self) -> str | None:
        """Return the next line without its end; None where the stream has ended."""
        while b"\n" not in self._buffer and not self._ended:
            self._fill()
        line, mark, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        if not mark and (not line or self.left):
            return None
        text = line[:_LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")
        return text if mark or not text.strip() else text + "\x00"

    def waiting(self) -> bool:
        """Tell whether a whole line can be had without waiting."""
        while b"\n" not in self._buffer and not self._ended and self._ready():
            self._fill()
        return b"\n" in self._buffer or (self._ended and bool(self._buffer))

    def _fill(self) -> None:
        if not self._wait(self._source):
            self._ended = self.left = True
            return
        data = self._source.read1(1 << 16)  # type: ignore[attr-defined]
        self._ended = not data
        kept = self._buffer if b"\n" in self._buffer else self._buffer[:_LONGEST_LINE]
        self._buffer = kept + data

    def _ready(self) -> bool:
        try:
            return bool(select.select([self._source], [], [], 0)[0])
        except (OSError, ValueError):  # a buffer in memory is always ready
            return True


class _Parser:
    """Turns lines into rows of the run's channels."""

    def __init__(self, names: list[str], delimiter: str, run: Run, asked: str | None) -> None:
        names = [name.strip().lstrip("\ufeff") for name in names]
        by_name = {name.lower(): place for place, name in enumerate(names)}
        usual = next((by_name[name] for name in TIME_NAMES if name in by_name), None)
        self.time = names.index(asked) if asked in names else usual
        channels = [name for place, name in enumerate(names) if place != self.time]
        wanted = [name for name in channels if name in run.channels]
        found = match_channels(run.channels, wanted, named=True, where="standard input")
        self.places = [names.index(wanted[place]) for place in found.tolist()]
        self.names, self.delimiter = names, delimiter
        self.clock = Clock()

    def __call__(self, line: str) -> StreamRow:
        """Parse one line; a row's fault says what is wrong with it."""
        if line.endswith("\x00"):
            return StreamRow(None, fault="the stream ended within it")
        try:
            fields = next(csv.reader([line], delimiter=self.delimiter), [])
        except csv.Error as error:
            return StreamRow(None, fault=f"it is no row ({error})")
        if len(fields) != len(self.names):
            return StreamRow(
                None, fault=f"it has {len(fields)} fields and the header {len(self.names)}"
            )
        stamp = None
        if self.time is not None:
            try:
                stamp = int(self.clock.read(pa.array([fields[self.time]]))[0])
            except ValueError:
                return StreamRow(None, fault=f"its time is {fields[self.time][:40]!r}")
        try:
            values = [_number(fields[place]) for place in self.places]
        except ValueError as error:
            return StreamRow(None, stamp, str(error))
        with np.errstate(over="ignore"):
            row = np.array(values).astype(np.float32)
        infinite = np.flatnonzero(np.isinf(row))
        row[infinite] = np.nan
        return StreamRow(row, stamp, infinite=tuple(infinite.tolist()))
