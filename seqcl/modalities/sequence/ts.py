"""TsReader and UcrReader: the formats of the UEA and UCR archives of time series."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from seqcl.batch import Entry, Label, Record
from seqcl.data.reader import Columns, default_channels, observed_lengths
from seqcl.errors import DataError
from seqcl.modalities.sequence.codes import labels_of
from seqcl.modalities.sequence.collection import Collection, CollectionReader
from seqcl.modalities.sequence.table import TableReader
from seqcl.modalities.sequence.unpacking import read_lines

__all__ = ["TsReader", "UcrReader"]


class TsReader(CollectionReader):
    """Reads the ``.ts`` files of the UEA archive with aeon's loader.

    Series may differ in length; ``?`` and NaN are missing. Class names are lower case, as aeon
    gives them, whole numbers int; targets of a regression set are floats.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".ts",)

    def load(self, path: Path) -> Collection:
        """Parse the file; raises DataError with the line where one is at fault."""
        from aeon.datasets import load_from_ts_file

        try:
            X, y, meta = load_from_ts_file(str(path), return_meta_data=True)
        except Exception as error:  # whatever a broken file makes aeon stumble over
            raise _ts_fault(path, error) from None
        if meta["timestamps"]:
            raise DataError(
                f"{path}: has time stamps between its values, which lose their signs when they "
                "are read; write the values alone, with @timestamps false"
            )
        if not len(X) or not min(series.size for series in X):
            raise DataError(f"{path}: holds no series below @data")
        series = [np.asarray(one, dtype=np.float32) for one in X]
        return Collection(
            series=series,
            channels=default_channels(len(series[0])),
            lengths=_lengths(series),
            labels=_ts_labels(y) if len(y) else None,
        )


class UcrReader(CollectionReader):
    """Reads the UCR archive's text files: a series a line, its class first, then its values.

    Fields are divided by tabs, commas or spaces; NaN, ``?`` and empty fields are missing, those
    at the end padding. A ``.tsv`` or ``.txt`` whose first line is not all numbers is a table
    with a header, and is read as one.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".tsv", ".txt")

    def __init__(self, columns: Columns = Columns()) -> None:  # noqa: B008 - Columns is frozen
        super().__init__(columns)
        self._table = TableReader(columns)
        self._tables: dict[Path, bool] = {}

    def scan(self, path: Path) -> Iterator[Entry]:
        """Yield the records of one file, or the recordings of a table."""
        return self._table.scan(path) if self._holds_table(path) else super().scan(path)

    def read(self, entry: Entry, start: int, stop: int) -> Record:
        """Read steps `start` to `stop`."""
        if self._holds_table(entry.path):
            return self._table.read(entry, start, stop)
        return super().read(entry, start, stop)

    def labels(self, entry: Entry, windows: Sequence[tuple[int, int]]) -> Sequence[Label | None]:
        """Return one label for each window."""
        if self._holds_table(entry.path):
            return self._table.labels(entry, windows)
        return super().labels(entry, windows)

    def remarks(self) -> list[str]:
        """Return what is to be known of the files, tables among them."""
        return self.notes + self._table.remarks()

    def _holds_table(self, path: Path) -> bool:
        if path not in self._tables:
            self._tables[path] = _is_table(path)
        return self._tables[path]

    def load(self, path: Path) -> Collection:
        """Parse the file; raises DataError with the line that is at fault."""
        classes: list[str] = []
        series: list[npt.NDArray[np.float32]] = []
        for line, text in read_lines(path):
            if text.strip():
                cells = _split(text)
                numbers = [_number(path, line, cell) for cell in cells]
                if len(numbers) < 2:
                    raise DataError(f"{path}:{line}: has a class and no values; drop the line")
                classes.append(cells[0].strip())
                series.append(np.array([numbers[1:]], dtype=np.float32))
        if not series:
            raise DataError(f"{path}: is empty")
        return Collection(
            series=series,
            channels=default_channels(1),
            lengths=_lengths(series),
            labels=labels_of(classes),
        )


def _lengths(series: Sequence[npt.NDArray[np.float32]]) -> list[int]:
    return [int(observed_lengths(one[None])[0]) for one in series]


def _ts_labels(y: npt.NDArray[Any]) -> Sequence[Label]:
    if y.dtype.kind == "f":
        return [float(value) for value in y]
    # aeon writes NaN for nan wherever it is, in "baNaNa" too
    return labels_of([str(value).replace("NaN", "nan").strip() for value in y])


def _ts_fault(path: Path, error: Exception) -> DataError:
    """Return the first value that is no number, with its line; what aeon says otherwise."""
    lines = iter(read_lines(path))
    for _, text in lines:
        if text.strip().lower() == "@data":
            break
    else:
        return DataError(f"{path}: has no @data line; is it a .ts file?")
    for line, text in lines:
        if not text.strip():
            return DataError(f"{path}:{line}: is blank below @data; drop the line")
        for cell in re.split("[,:]", text.strip().rpartition(":")[0]):
            try:
                _number(path, line, cell)
            except DataError as fault:
                return fault
    reason = re.sub(r"Error loading <.*?>\. ", "", " ".join(str(error).split()))
    return DataError(f"{path}: cannot be read as .ts: {reason}")


def _is_table(path: Path) -> bool:
    first = next((text for _, text in read_lines(path) if text.strip()), "")
    try:
        return not [_number(path, 1, cell) for cell in _split(first)]
    except DataError:
        return True


def _split(text: str) -> list[str]:
    delimiter = next((mark for mark in "\t," if mark in text), None)
    return text.rstrip("\r\n").split(delimiter)


def _number(path: Path, line: int, cell: str) -> float:
    text = cell.strip()
    try:
        return float(text) if text not in ("", "?") else float("nan")
    except ValueError:
        raise DataError(
            f"{path}:{line}: {text[:40]!r} is no number; write NaN where missing"
        ) from None
