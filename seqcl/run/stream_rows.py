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
from seqcl.modalities.sequence.dialect import decimal_mark, is_missing, is_number
from seqcl.modalities.sequence.tablefile import NO_TIME, TIME_NAMES
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
    delimiter = options.delimiter or _delimiter(header.rstrip("\x00"), run)
    first = _fields(header.rstrip("\x00"), delimiter)
    names = _names_of(first, run, _decimal(first, delimiter), options.time)
    if names is not first:
        note(f"the first line names no channel; its columns are taken to be {', '.join(names)}")
    parse = _Parser(names, delimiter, run, options, note)
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


def _delimiter(line: str, run: Run) -> str:
    """Return what parts names of channels, or numbers and times; else the commonest."""

    def fit(mark: str) -> tuple[bool, int]:
        fields = _fields(line, mark)
        decimal = _decimal(fields, mark)
        told = set(fields) & set(run.channels) or all(
            is_missing(cell) or is_number(cell, decimal) or is_time(cell) for cell in fields
        )
        return bool(told), line.count(mark)

    return max(",;\t|", key=fit)


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter))


def _decimal(fields: list[str], delimiter: str) -> str:
    """Return the decimal mark, which may be a comma where that parts no fields."""
    return "." if delimiter == "," else decimal_mark([fields])


def _names_of(first: list[str], run: Run, decimal: str, time: str | None) -> list[str]:
    """Return the first line's fields where they name channels, as a header does.

    What comes in the middle of a file (``tail -F``) has none: as many numbers as the run has
    channels, after a time stamp or without one, are taken to be in the order of training. Raises
    DataError for another number of them.
    """
    if {name.strip().lstrip("\ufeff") for name in first} & set(run.channels):
        return first
    values = first[len(first) - len(run.channels) :]
    timed = len(first) == len(run.channels) + 1 and _is_stamp(first[0])
    if not (timed or len(first) == len(run.channels)) or not all(
        is_missing(value) or is_number(value, decimal) for value in values
    ):
        if any(_is_stamp(cell) or is_number(cell, decimal) for cell in first):
            raise DataError(
                f"standard input: the first line is no header, and has {len(first)} columns where "
                f"the run has {len(run.channels)} channels; begin with the line that names them "
                "(tail -n +1 -F FILE)"
            )
        return first
    stamp = TIME_NAMES[0] if time in (None, NO_TIME) else time
    return [*([stamp] if timed else []), *run.channels]


def _is_stamp(cell: str) -> bool:
    """Tell a time from a reading: a date, or unix time since 1973."""
    return is_time(cell) or (is_number(cell) and float(cell) >= _EARLIEST)


def _number(cell: str, decimal: str) -> float:
    """Return the number of a cell, NaN where it says that there is none, as in files."""
    if is_missing(cell):
        return np.nan
    if not is_number(cell, decimal):
        raise ValueError(f"could not convert string to float: {cell[:40]!r}")
    return float(cell.replace(decimal, "."))


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

    def __init__(
        self,
        names: list[str],
        delimiter: str,
        run: Run,
        options: DataOptions,
        note: Callable[[str], None],
    ) -> None:
        names = [name.strip().lstrip("\ufeff") for name in names]
        self.time = _time_column(names, options.time)
        self.group = names.index(options.group) if options.group in names else None
        self.machine: str | None = None
        self.doubtful = options.time is None and run.manifest["rate_hz"] is None
        """Whether a first cell that is no time tells that the column holds none, as in training."""
        self.note = note
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
        if self.group is not None and fields[self.group] != self.machine:
            if self.machine is not None:
                return StreamRow(
                    None,
                    fault=f"it is of {fields[self.group][:40]!r} and the stream of "
                    f"{self.machine[:40]!r}; give each a process of its own",
                )
            self.machine = fields[self.group]
        try:
            stamp = self._stamp(fields)
        except ValueError:
            return StreamRow(None, fault=f"its time is {fields[self.time or 0][:40]!r}")
        cells = [fields[place] for place in self.places]
        decimal = _decimal(cells, self.delimiter)
        try:
            values = [_number(cell, decimal) for cell in cells]
        except ValueError as error:
            return StreamRow(None, stamp, str(error))
        with np.errstate(over="ignore"):
            row = np.array(values).astype(np.float32)
        infinite = np.flatnonzero(np.isinf(row))
        row[infinite] = np.nan
        return StreamRow(row, stamp, infinite=tuple(infinite.tolist()))

    def _stamp(self, fields: list[str]) -> int | None:
        """Return the time of a row; raises ValueError where it should have one and has none."""
        doubtful, self.doubtful = self.doubtful, False
        if self.time is None:
            return None
        try:
            return int(self.clock.read(pa.array([fields[self.time]]))[0])
        except ValueError:
            if not doubtful:
                raise
        self.note(
            f"{fields[self.time][:40]!r} in column {self.names[self.time]!r} is no time; rows are "
            "read without, as in training"
        )
        self.time = None
        return None


def _time_column(names: list[str], asked: str | None) -> int | None:
    """Return the place of the column of times; raises DataError where one is named and absent."""
    if asked == NO_TIME:
        return None
    if asked is not None:
        if asked not in names:
            raise DataError(
                f"standard input: no column {asked!r} (data.time). Columns: {', '.join(names)}"
            )
        return names.index(asked)
    places = {name.lower(): place for place, name in enumerate(names)}
    return next((places[name] for name in TIME_NAMES if name in places), None)
