"""DelimitedFile: text tables with commas, semicolons or tabs, packed by gzip or not."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from seqcl.data.reader import default_channels
from seqcl.errors import DataError
from seqcl.modalities.sequence.dialect import (
    MISSING,
    decimal_mark,
    is_header,
    is_missing,
    is_number,
    kind_of,
    sniff_delimiter,
)
from seqcl.modalities.sequence.tablefile import Roles, TableFile
from seqcl.modalities.sequence.unpacking import open_unpacked, read_lines

__all__ = ["DelimitedFile"]

_SAMPLE_LINES, _SAMPLE_BYTES = 256, 1 << 18
_BLOCK_BYTES = 1 << 22
_TRUE, _FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]


class DelimitedFile(TableFile):
    """A table in UTF-8 text, with or without a header, streamed by Arrow.

    The delimiter is the one that divides the first lines most evenly; a first line without any
    number or date in it is the header; with semicolons or tabs a decimal comma is understood.
    Missing values are empty, NA, NaN or null; true and false are 1 and 0.

    Args:
        path: the file.
        delimiter: one character; None = found from the first lines.
    """

    def __init__(self, path: Path, delimiter: str | None = None) -> None:
        self.path = path
        if delimiter is not None and len(delimiter) != 1:
            raise DataError(f"{path}: data.delimiter is {delimiter!r}; needed: one character")
        sample = list(self._sample())
        self._longest_line = max(map(len, sample), default=0)
        self._quoted = any('"' in line for line in sample)
        self.delimiter = delimiter or sniff_delimiter(sample)
        rows = list(self._split(sample))
        if not rows:
            raise DataError(f"{path}: is empty")
        line, first = rows[0]
        self._width = len(first)
        self.named = is_header(first)
        self._header_line = line if self.named else 0
        self.names = self._names(first)
        body = [row for _, row in rows[self.named :] if len(row) == self._width]
        self._decimal = "." if self.delimiter == "," else decimal_mark(body)
        columns = list(zip(*body, strict=True)) or [()] * self._width
        self.kinds = {
            name: kind_of(column, self._decimal)
            for name, column in zip(self.names, columns, strict=True)
        }

    def blocks(self, roles: Roles) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see TableFile."""
        if next(self._rows(), None) is None:
            return  # a thread of Arrow's would outlive its reader, and Python with one core
        types = {name: pa.string() for name in (roles.time, *roles.texts) if name}
        for name in roles.channels:
            types[name] = pa.bool_() if self.kinds[name] == "flag" else pa.float64()
        with open_unpacked(self.path) as stream:
            try:
                with self._stream(pa.PythonFile(stream, mode="r"), types) as reader:
                    yield from reader
            except pa.ArrowInvalid as error:
                raise self._diagnose(roles.channels, error) from None

    def place(self, row: int) -> str:
        """Return ``path:line``, counting blank lines and lines within quotes."""
        line, _ = next(islice(self._rows(), row, None), (f" row {row}", None))
        return f"{self.path}:{line}"

    def fault(self, column: str) -> DataError:
        """Return the cells of a channel that are no numbers, counted over the whole file."""
        return self._diagnose([column], None)

    def _stream(
        self, file: pa.NativeFile, types: dict[str, pa.DataType]
    ) -> arrow_csv.CSVStreamingReader:
        return arrow_csv.open_csv(
            file,
            arrow_csv.ReadOptions(
                use_threads=False,
                block_size=max(_BLOCK_BYTES, 8 * self._longest_line),
                column_names=[name or f" {place}" for place, name in enumerate(self.names)],
                skip_rows=self._header_line,
            ),
            arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=self._quoted),
            arrow_csv.ConvertOptions(
                include_columns=list(types),
                column_types=types,
                null_values=[*MISSING, *(f" {token}" for token in MISSING)],
                true_values=_TRUE,
                false_values=_FALSE,
                strings_can_be_null=True,
                decimal_point=self._decimal,
            ),
        )

    def _lines(self) -> Iterator[str]:
        return (line for _, line in read_lines(self.path))

    def _sample(self) -> Iterator[str]:
        size = 0
        for line in islice(self._lines(), _SAMPLE_LINES):
            size += len(line)
            yield line
            if size > _SAMPLE_BYTES:
                return

    def _split(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows that are not blank, each with the number of its last line."""
        reader = csv.reader(lines, delimiter=self.delimiter)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            raise DataError(f"{self.path}:{reader.line_num}: {error}; is it a table?") from None

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows below the header."""
        return islice(self._split(self._lines()), int(self.named), None)

    def _names(self, first: Sequence[str]) -> tuple[str, ...]:
        if not self.named:
            return default_channels(len(first))
        names = tuple(cell.strip() for cell in first)
        twice = [name for name, count in Counter(names).items() if count > 1 and name]
        if twice:
            raise DataError(
                f"{self.path}:{self._header_line}: column {twice[0]!r} is there twice; rename one"
            )
        return names

    def _diagnose(self, channels: Sequence[str], error: Exception | None) -> DataError:
        """Return what is wrong with the file, in words and with its line."""
        places = [self.names.index(name) for name in channels]
        faults: dict[int, tuple[int, str]] = {}
        counts: Counter[tuple[int, str]] = Counter()
        rows = 0
        for line, row in self._rows():
            rows += 1
            if len(row) != self._width:
                return self._ragged(line, row)
            for place in places:
                cell = row[place].strip()
                if not self._is_value(place, cell):
                    faults.setdefault(place, (line, cell))
                    counts[place, cell] += 1
        if not faults:
            return DataError(f"{self.path}: {' '.join(str(error).split())}")
        place, (line, cell) = next(iter(faults.items()))
        return DataError(
            f"{self.path}:{line}: column {self.names[place]!r} is {cell!r} in "
            f"{counts[place, cell]:,} of {rows:,} rows; drop it with data.columns, or leave "
            "missing cells empty"
        )

    def _is_value(self, place: int, cell: str) -> bool:
        if self.kinds[self.names[place]] == "flag":
            return is_missing(cell) or cell in (*_TRUE, *_FALSE)
        return is_missing(cell) or is_number(cell, self._decimal)

    def _ragged(self, line: int, row: Sequence[str]) -> DataError:
        return DataError(
            f"{self.path}:{line}: has {len(row)} fields where the first line has {self._width} "
            f"(delimiter {self.delimiter!r}); mend the row"
        )
