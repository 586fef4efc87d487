"""TableReader: tables of sensors, one row a step, from text or Parquet of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from seqcl.batch import Entry, Label, Record
from seqcl.data.duration import duration_text
from seqcl.data.reader import Columns, Reader
from seqcl.modalities.sequence.collection import check_steps
from seqcl.modalities.sequence.delimited import DelimitedFile
from seqcl.modalities.sequence.grid import Grid
from seqcl.modalities.sequence.ingest import Table, load_table
from seqcl.modalities.sequence.parquet import ParquetFile
from seqcl.modalities.sequence.spool import Spool
from seqcl.modalities.sequence.tablefile import TIME_NAMES, TableFile

__all__ = ["TableReader"]


class TableReader(Reader):
    """Reads ``.csv``, ``.csv.gz`` and ``.parquet`` (and, where it is named, any text table).

    Every numeric column is a channel, except these, by option or by their usual names:

    - time (``timestamp``, ``datetime``, ``date``, ``time``; data.time=none for none): ISO text or
      unix time. It must rise, but for the hour that summer time takes or gives in local time.
      The rate is taken from the typical step. Gaps, steps of more than 1.5 times that, do not
      end a recording: rows stay as they are, `notes` tells how many and how long, and
      ``Record.times`` tells where. (Cutting there would break recorders that drop a row now and
      then into pieces shorter than any window.) With data.every rows become intervals of a
      regular `Grid`; those of an interval may be in any order and have equal stamps.
    - label (``label``): one for each row; a window has its most frequent one; an interval of
      data.every has its highest number, or its last word. Labels 0 and 1 also become
      ``Record.step_labels``, where -1 is an empty cell.
    - sensor: in long form the column of channel names, beside one of values; see data.sensor.
    - group: each run of rows with one value is a recording of that group.

    A scan streams the file once and checks every row of it. Rows are kept as float32 in memory,
    above `memory_bytes` in a temporary file, so that windows are read without parsing again.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".csv.gz", ".parquet")
    memory_bytes: ClassVar[int] = 256 << 20

    def __init__(self, columns: Columns = Columns()) -> None:  # noqa: B008 - Columns is frozen
        super().__init__(columns)
        self._spool = Spool(self.memory_bytes)
        self._tables: dict[Path, Table] = {}
        self._gridded = np.zeros(3, np.int64)
        self._gaps, self._longest_s, self._longest_at = 0, 0.0, ""
        self._usual = ""
        self._told: dict[str, str] = {}

    @property
    def lazy(self) -> bool:  # type: ignore[override]
        """Whether rows are read from disk, being too many to be kept in memory."""
        return self._spool.on_disk

    def scan(self, path: Path) -> Iterator[Entry]:
        """Yield the recordings of one file, after all of it has been checked."""
        table = self._table(path)
        for number, run in enumerate(table.runs):
            has_label = table.roles.label is not None
            yield Entry(
                path=path,
                id=path.name if len(table.runs) == 1 else f"{path.name}#{number}",
                length=run.stop - run.start,
                channels=table.roles.channels,
                rate_hz=None if run.timing is None else run.timing.rate_hz,
                label=table.most_frequent_label(run.start, run.stop) if has_label else None,
                group=run.group,
                key=run.start,
                named=table.named,
            )

    def read(self, entry: Entry, start: int, stop: int) -> Record:
        """Read steps `start` to `stop`, with times and step labels where the file has them.

        Raises IndexError beyond the recording, which is not where the file ends.
        """
        check_steps(entry, start, stop)
        table = self._table(entry.path)
        first = int(entry.key or 0)
        rows = table.rows.read(first + start, first + stop)
        step_labels = None
        if table.roles.label is not None and set(table.labels) <= {0, 1}:
            step_labels = np.array([*table.labels, -1], dtype=np.int64)[table.codes(rows)]
        return entry.record(
            np.array(rows["values"].T, order="C"),
            start,
            times=None if table.roles.time is None else rows["time"].copy(),
            step_labels=step_labels,
        )

    def labels(self, entry: Entry, windows: Sequence[tuple[int, int]]) -> Sequence[Label | None]:
        """Return the most frequent label of the rows of each window; None where all are empty."""
        table = self._table(entry.path)
        if table.roles.label is None:
            return super().labels(entry, windows)
        first = int(entry.key or 0)
        return [table.most_frequent_label(first + start, first + stop) for start, stop in windows]

    def _table(self, path: Path) -> Table:
        if path not in self._tables:
            file = _open(path, self.columns.delimiter)
            table = self._tables[path] = load_table(file, self.columns, self._spool)
            self._note_gaps(file, table)
            if table.roles.time is None and self.columns.time is None:
                self._note_unused(file)
            if table.grid is not None:
                self._note_grid(table.grid)
        return self._tables[path]

    def _note(self, about: str, text: str) -> None:
        """Keep one note about each thing, of all files."""
        self._told[about] = text
        self.notes[:] = self._told.values()

    def _note_unused(self, file: TableFile) -> None:
        """Note a column that could hold the times and does not: rows are read without them."""
        timed = next((name for name in file.names if file.kinds[name] == "time"), None)
        if timed is not None:
            told = f"column {timed!r} holds times; data.time={timed} uses them"
            self._note("unused", f"{file.path}: {told}")
            return
        for name in file.names:
            if name.lower() in TIME_NAMES and file.kinds[name] == "text":
                told = f"column {name!r} is neither ISO dates (2024-05-31 13:45:00) nor unix time"
                self._note("unused", f"{file.path}: {told}; rows are read without times")

    def _note_grid(self, grid: Grid) -> None:
        """Note what the grid made of the rows of all files."""
        self._gridded += (grid.rows, grid.intervals, grid.empty)
        rows, intervals, empty = self._gridded.tolist()
        if not grid.gapless:
            self._note("grid", f"{rows:,} values in long form became {intervals:,} rows")
            return
        self._note(
            "grid",
            f"{rows:,} rows became {intervals:,} intervals of {duration_text(grid.every_ns)} "
            f"(data.every), {empty:,} of them empty",
        )

    def _note_gaps(self, file: TableFile, table: Table) -> None:
        """Note the number of gaps in all files and of the longest."""
        for run in table.runs:
            if run.timing is not None and run.timing.gaps:
                self._gaps += run.timing.gaps
                if run.timing.longest_s > self._longest_s:
                    self._longest_s = run.timing.longest_s
                    self._usual = duration_text(float(f"{1e9 / run.timing.rate_hz:.2g}"))
                    row = run.start + run.timing.longest_row
                    is_line = table.grid is None  # rows of long form are not those of the file
                    self._longest_at = f"before {file.place(row)}" if is_line else f"in {file.path}"
        if self._gaps:
            self._note(
                "gaps",
                f"{self._gaps:,} gaps in the time stamps (more than 1.5 times the usual step), the "
                f"longest of {self._longest_s:g} s {self._longest_at}; windows run across "
                f"(data.every={self._usual} makes a regular grid)",
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"columns": self.columns}

    def __setstate__(self, state: dict[str, Any]) -> None:
        TableReader.__init__(self, state["columns"])


def _open(path: Path, delimiter: str | None) -> TableFile:
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1" or path.suffix.lower() == ".parquet"
    return ParquetFile(path) if is_parquet else DelimitedFile(path, delimiter)
