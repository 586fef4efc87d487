"""From a table file to rows on the spool, cut into recordings, every row checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seqcl.batch import Label
from seqcl.data.duration import duration_text
from seqcl.data.reader import Columns
from seqcl.errors import DataError, did_you_mean
from seqcl.modalities.sequence.codes import Codes, label_ranks, labels_of
from seqcl.modalities.sequence.grid import Grid, OverlongError
from seqcl.modalities.sequence.spool import Rows, Spool
from seqcl.modalities.sequence.tablefile import Roles, TableFile, choose_roles
from seqcl.modalities.sequence.timestamps import (
    HOUR,
    SECOND,
    Clock,
    DisorderError,
    Timing,
    is_time,
    timing,
)

__all__ = ["Run", "Table", "load_table"]

Structured = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A recording: the rows `start` to `stop`, all of one group."""

    start: int
    stop: int
    group: str | None
    timing: Timing | None


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file as (values, time, label), where it has the latter two.

    `labels` gives the label of each code that `codes` returns; -1 is an empty cell.
    """

    roles: Roles
    named: bool
    rows: Rows
    runs: tuple[Run, ...]
    labels: tuple[Label, ...]
    grid: Grid | None = None
    """What made intervals of the rows of the file."""

    def codes(self, rows: Structured) -> npt.NDArray[np.int32]:
        """Return the codes of labels of rows; of an interval the highest number or last word."""
        words = self.grid is not None and any(isinstance(label, str) for label in self.labels)
        codes: npt.NDArray[np.int32] = rows["last" if words else "label"]
        return codes

    def most_frequent_label(self, start: int, stop: int) -> Label | None:
        """Return the label of most rows, the first in the file of those that tie."""
        counts = np.zeros(len(self.labels), dtype=np.int64)
        for block in self.rows.blocks(start, stop):
            codes = self.codes(block)
            counts += np.bincount(codes[codes >= 0], minlength=len(counts))
        totals: Counter[Label] = Counter()
        for code in np.flatnonzero(counts).tolist():  # 1 and 1.0 are two codes and one label
            totals[self.labels[code]] += int(counts[code])
        return totals.most_common(1)[0][0] if totals else None


def load_table(file: TableFile, columns: Columns, spool: Spool) -> Table:
    """Read all of `file`; raises DataError with the line of the first fault."""
    roles = choose_roles(file, columns)
    sensors = _sensors(file, roles, columns) if roles.sensor else ()
    ingest = _Ingest(file, roles, sensors)
    roles = replace(roles, channels=sensors or roles.channels)
    grid = None
    if columns.every_ns is None and not sensors:
        rows = spool.add(ingest.blocks(), ingest.dtype)
    else:
        if roles.time is None and columns.every_ns is not None:
            raise DataError(
                f"{file.path}: has no time stamps, which data.every="
                f"{duration_text(columns.every_ns)} needs; name their column with data.time, or "
                f"drop data.every. Columns: {', '.join(filter(None, file.names))}"
            )
        grid = Grid(
            columns.every_ns or 1, len(roles.channels), labelled=roles.label is not None,
            gapless=columns.every_ns is not None,
        )  # fmt: skip
        rows = spool.add(ingest.intervals(grid), grid.dtype)
    if not rows.count:
        raise DataError(f"{file.path}: has no rows{' below its header' if file.named else ''}")
    runs = tuple(ingest.runs(rows, grid if columns.every_ns else None))
    return Table(roles, file.named, rows, runs, labels_of(ingest.labels.texts), grid)


def _sensors(file: TableFile, roles: Roles, columns: Columns) -> tuple[str, ...]:
    """Return the sensors of a table in long form, sorted, or those that are asked for."""
    assert roles.sensor is not None
    codes = Codes()
    for batch in file.blocks(roles):
        codes.encode(batch.column(roles.sensor))
        if len(codes.texts) > _SENSORS:
            raise DataError(
                f"{file.path}: column {roles.sensor!r} has more than {_SENSORS:,} different names; "
                "is it that of sensors? (data.sensor)"
            )
    for name in columns.values or ():
        if name not in codes.texts:
            raise DataError(
                f"{file.path}: column {roles.sensor!r} has no sensor {name!r}, asked for by "
                f"data.columns.{did_you_mean(name, codes.texts)}"
            )
    return columns.values or tuple(sorted(codes.texts))


_SENSORS = 1_000
_PIECE_VALUES = 1 << 22
"""Values of a piece of a block in long form, most of them missing."""


class _Ingest:
    """Turns blocks of a file into rows; with `sensors` each row has a value of one of them."""

    def __init__(self, file: TableFile, roles: Roles, sensors: tuple[str, ...] = ()) -> None:
        self.file, self.roles, self.sensors = file, roles, sensors
        self.clock, self.labels, self.groups = Clock(), Codes(), Codes()
        self.starts: list[tuple[int, int]] = []
        self.rows = 0
        fields: list[Any] = [("values", "<f4", (len(sensors or roles.channels),))]
        fields += [("time", "<i8")] if roles.time else []
        fields += [("label", "<i4")] if roles.label else []
        self.dtype = np.dtype(fields)

    def blocks(self) -> Iterator[Structured]:
        """Yield the rows of the file; notes on the way where its groups begin."""
        for batch in self._batches():
            row, block = self.rows, np.empty(batch.num_rows, self.dtype)
            for place, name in enumerate(self.roles.channels):
                values = self._values(batch.column(name), row)
                if self.roles.sensor:
                    block["values"] = self._spread(values, batch.column(self.roles.sensor), row)
                else:
                    block["values"][:, place] = values
            if self.roles.time:
                block["time"] = self._times(batch.column(self.roles.time), row)
            if self.roles.label:
                block["label"] = self.labels.encode(batch.column(self.roles.label))
            if self.roles.group:
                self._note_groups(self.groups.encode(batch.column(self.roles.group)), row)
            self.rows += len(block)
            yield block

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """Yield what the file does, in long form in pieces."""
        size = max(1, _PIECE_VALUES // max(1, len(self.sensors)))
        for batch in self.file.blocks(self.roles):
            if not self.sensors:
                yield batch
                continue
            for first in range(0, batch.num_rows, size):
                yield batch.slice(first, size)

    def _spread(
        self, values: npt.NDArray[np.float32], names: pa.Array, row: int
    ) -> npt.NDArray[np.float32]:
        """Return (n, sensors) with each value under its sensor's name, NaN elsewhere."""
        nameless = ~np.isnan(values) & np.asarray(pc.is_null(names))
        if nameless.any():
            raise DataError(
                f"{self.file.place(row + int(np.argmax(nameless)))}: has a value and no name in "
                f"column {self.roles.sensor!r} (data.sensor); name its sensor, or drop the row"
            )
        places = np.asarray(pc.fill_null(pc.index_in(names, pa.array(self.sensors)), -1))
        spread = np.full((len(values), len(self.sensors)), np.nan, np.float32)
        known = np.flatnonzero(places >= 0)
        spread[known, places[known]] = values[known]
        return spread

    def intervals(self, grid: Grid) -> Iterator[Structured]:
        """Yield the intervals of `grid` that the rows of the file fill, each group's apart."""
        seen, starts = 0, []
        for block in self.blocks():
            row = self.rows - len(block)
            begun, seen = self.starts[seen:], len(self.starts)
            places = [0, *(start - row for start, _ in begun), len(block)]
            for number, (place, stop) in enumerate(pairwise(places)):
                if number:
                    yield grid.flush()
                    starts.append((grid.intervals, begun[number - 1][1]))
                yield self._closed(grid, block[place:stop], row + place)
        self._check_groups()
        yield grid.flush()
        self.starts = starts

    def runs(self, rows: Rows, grid: Grid | None) -> Iterator[Run]:
        """Yield the recordings, their times checked; intervals of a grid need no check."""
        starts = self.starts or [(0, -1)]
        if grid is None:
            self._check_groups()
        stops = [start for start, _ in starts[1:]] + [rows.count]
        for (start, code), stop in zip(starts, stops, strict=True):
            group = self.groups.texts[code] if code >= 0 else None
            regular = None if grid is None else Timing(SECOND / grid.every_ns, 0, 0.0, 0)
            yield Run(start, stop, group, regular or self._timing(rows, start, stop))

    def _check_groups(self) -> None:
        if len(self.starts) > max(len(self.groups.texts) + 1, self.rows // 2):
            raise DataError(
                f"{self.file.path}: column {self.roles.group!r} changes {len(self.starts) - 1:,} "
                f"times in {self.rows:,} rows; sort the rows by it, then by time"
            )

    def _closed(self, grid: Grid, block: Structured, row: int) -> Structured:
        """Put rows on the grid; returns the intervals that they close."""
        codes = block["label"] if self.roles.label else None
        ranks = label_ranks(self.labels.texts) if self.roles.label else None
        try:
            return grid.push(block["values"], block["time"], codes, ranks)
        except DisorderError as fault:
            back = self.clock.local and fault.before - fault.after <= HOUR
            zone = ", write them with their zone (where summer time ended)" if back else ""
            raise self._disorder(fault, row, f"sort the rows{zone}") from None
        except OverlongError as fault:
            steps = np.diff(block["time"])
            usual = duration_text(float(np.median(steps[steps > 0]))) if (steps > 0).any() else "–"
            raise DataError(
                f"{self.file.path}: data.every={duration_text(grid.every_ns)} makes "
                f"{fault.intervals:,} intervals of {fault.rows:,} rows, nearly all of them empty; "
                f"set data.every to the usual step of the rows ({usual}) or more, or mend a time "
                "stamp that is far off"
            ) from None

    def _values(self, column: pa.Array, row: int) -> npt.NDArray[np.float32]:
        numbers = np.asarray(column.cast(pa.float32(), safe=False))
        infinite = np.isinf(numbers)
        if infinite.any():
            where = int(np.argmax(infinite))
            raise DataError(
                f"{self.file.place(row + where)}: {column[where].as_py()} is beyond float32; "
                "leave the cell empty if the value is missing"
            )
        return numbers

    def _times(self, column: pa.Array, row: int) -> npt.NDArray[np.int64]:
        try:
            return self.clock.read(column)
        except ValueError as error:
            where = int(error.args[0])
            found = column[where].as_py()
            problem = "is neither an ISO date (2024-05-31 13:45:00) nor unix time; mend it"
            if isinstance(found, str) and is_time(found):
                problem = (
                    "is written otherwise than those before it, with a zone or without one; write "
                    "all of them alike"
                )
            raise DataError(
                f"{self.file.place(row + where)}: time {found!r} in column "
                f"{self.roles.time!r} {problem}, or read the rows without their times by "
                "data.time=none"
            ) from None

    def _note_groups(self, codes: npt.NDArray[np.int32], row: int) -> None:
        last = self.starts[-1][1] if self.starts else -2
        changes = np.flatnonzero(np.diff(codes, prepend=last))
        self.starts += [(row + int(place), int(codes[place])) for place in changes]

    def _timing(self, rows: Rows, start: int, stop: int) -> Timing | None:
        if not self.roles.time:
            return None
        try:
            return timing((block["time"] for block in rows.blocks(start, stop)), self.clock.local)
        except DisorderError as fault:
            repeats = fault.after == fault.before
            remedy = "average them over intervals (data.every)" if repeats else "sort the rows"
            remedy += ", name the column of sensors in long form (data.sensor)" if repeats else ""
            raise self._disorder(fault, start, remedy) from None

    def _disorder(self, fault: DisorderError, row: int, remedy: str) -> DataError:
        before, after = np.array([fault.before, fault.after], dtype="datetime64[ns]")
        problem = "repeats" if after == before else f"comes after {_text(before)}"
        return DataError(
            f"{self.file.place(row + fault.row)}: time {_text(after)} in column "
            f"{self.roles.time!r} {problem}; {remedy}, name the column that tells "
            "recordings apart (data.group), or set data.time=none"
        )


def _text(stamp: np.datetime64) -> str:
    """Return a time without the zeros of the parts of a second that it does not have."""
    return str(stamp).replace("T", " ").rstrip("0").rstrip(".")
