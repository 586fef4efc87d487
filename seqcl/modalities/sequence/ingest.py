"""From a table file to rows on the spool, cut into recordings, every row checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcl.batch import Label
from seqcl.data.reader import Columns
from seqcl.errors import DataError
from seqcl.modalities.sequence.codes import Codes, labels_of
from seqcl.modalities.sequence.spool import Rows, Spool
from seqcl.modalities.sequence.tablefile import Roles, TableFile, choose_roles
from seqcl.modalities.sequence.timestamps import Clock, DisorderError, Timing, timing

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

    `labels` gives the label of each code in ``label``; -1 is an empty cell.
    """

    roles: Roles
    named: bool
    rows: Rows
    runs: tuple[Run, ...]
    labels: tuple[Label, ...]

    def most_frequent_label(self, start: int, stop: int) -> Label | None:
        """Return the label of most rows, the first in the file of those that tie."""
        counts = np.zeros(len(self.labels), dtype=np.int64)
        for block in self.rows.blocks(start, stop):
            codes = block["label"]
            counts += np.bincount(codes[codes >= 0], minlength=len(counts))
        totals: Counter[Label] = Counter()
        for code in np.flatnonzero(counts).tolist():  # 1 and 1.0 are two codes and one label
            totals[self.labels[code]] += int(counts[code])
        return totals.most_common(1)[0][0] if totals else None


def load_table(file: TableFile, columns: Columns, spool: Spool) -> Table:
    """Read all of `file`; raises DataError with the line of the first fault."""
    roles = choose_roles(file, columns)
    ingest = _Ingest(file, roles)
    rows = spool.add(ingest.blocks(), ingest.dtype)
    if not rows.count:
        raise DataError(f"{file.path}: has no rows{' below its header' if file.named else ''}")
    runs = tuple(ingest.runs(rows))
    return Table(roles, file.named, rows, runs, labels_of(ingest.labels.texts))


class _Ingest:
    def __init__(self, file: TableFile, roles: Roles) -> None:
        self.file, self.roles = file, roles
        self.clock, self.labels, self.groups = Clock(), Codes(), Codes()
        self.starts: list[tuple[int, int]] = []
        fields: list[Any] = [("values", "<f4", (len(roles.channels),))]
        fields += [("time", "<i8")] if roles.time else []
        fields += [("label", "<i4")] if roles.label else []
        self.dtype = np.dtype(fields)

    def blocks(self) -> Iterator[Structured]:
        """Yield the rows of the file; notes on the way where its groups begin."""
        row = 0
        for batch in self.file.blocks(self.roles):
            block = np.empty(batch.num_rows, self.dtype)
            for place, name in enumerate(self.roles.channels):
                block["values"][:, place] = self._values(batch.column(name), row)
            if self.roles.time:
                block["time"] = self._times(batch.column(self.roles.time), row)
            if self.roles.label:
                block["label"] = self.labels.encode(batch.column(self.roles.label))
            if self.roles.group:
                self._note_groups(self.groups.encode(batch.column(self.roles.group)), row)
            yield block
            row += len(block)

    def runs(self, rows: Rows) -> Iterator[Run]:
        """Yield the recordings, their times checked."""
        starts = self.starts or [(0, -1)]
        if len(starts) > max(len(self.groups.texts) + 1, rows.count // 2):
            raise DataError(
                f"{self.file.path}: column {self.roles.group!r} changes {len(starts) - 1:,} times "
                f"in {rows.count:,} rows; sort the rows by it, then by time"
            )
        stops = [start for start, _ in starts[1:]] + [rows.count]
        for (start, code), stop in zip(starts, stops, strict=True):
            group = self.groups.texts[code] if code >= 0 else None
            yield Run(start, stop, group, self._timing(rows, start, stop))

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
            raise DataError(
                f"{self.file.place(row + where)}: time {column[where].as_py()!r} in column "
                f"{self.roles.time!r} is neither an ISO date (2024-05-31 13:45:00) nor unix time; "
                "mend it, or read the rows without their times by data.time=none"
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
            before, after = np.array([fault.before, fault.after], dtype="datetime64[ns]")
            problem = "repeats" if after == before else f"comes after {_text(before)}"
            raise DataError(
                f"{self.file.place(start + fault.row)}: time {_text(after)} in column "
                f"{self.roles.time!r} {problem}; sort the rows, name the column that tells "
                "recordings apart (data.group), or set data.time=none"
            ) from None


def _text(stamp: np.datetime64) -> str:
    """Return a time without the zeros of the parts of a second that it does not have."""
    return str(stamp).replace("T", " ").rstrip("0").rstrip(".")
