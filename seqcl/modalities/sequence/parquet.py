"""ParquetFile: tables in Parquet, read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from seqcl.errors import DataError
from seqcl.modalities.sequence.tablefile import Kind, Roles, TableFile
from seqcl.modalities.sequence.unpacking import refuse_bomb

__all__ = ["ParquetFile"]

_BATCH_ROWS = 1 << 16


class ParquetFile(TableFile):
    """A Parquet table; integers, floats, decimals and booleans can be channels."""

    named = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._faults():
            self._file = arrow_parquet.ParquetFile(path, memory_map=True)
        self.names = tuple(self._file.schema_arrow.names)
        self.kinds = {field.name: _kind(field.type) for field in self._file.schema_arrow}
        refuse_bomb(
            f"{path}: a table of {self._file.metadata.num_rows:,} rows",
            path.stat().st_size,
            4 * self._file.metadata.num_rows * len(self.names),
            "write it in parts if it is meant to",
        )

    def blocks(self, roles: Roles) -> Iterator[pa.RecordBatch]:
        """Yield the rows; see TableFile."""
        texts = roles.texts
        times = [roles.time] if roles.time else []
        with self._faults():
            for batch in self._file.iter_batches(
                _BATCH_ROWS, columns=[*roles.channels, *texts, *times]
            ):
                columns = {
                    name: batch.column(name).cast(pa.float64(), safe=False)
                    for name in roles.channels
                }
                columns |= {name: _text(batch.column(name)) for name in texts}
                columns |= {name: batch.column(name) for name in times}
                yield pa.RecordBatch.from_pydict(columns)

    def place(self, row: int) -> str:
        """Return ``path: row N``, counted from 0."""
        return f"{self.path}: row {row:,}"

    def fault(self, column: str) -> DataError:
        """Return the type that is no number."""
        kind = self._file.schema_arrow.field(column).type
        return DataError(
            f"{self.path}: column {column!r} is {kind}; drop it with data.columns, or write numbers"
        )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self.path}: is no sound Parquet file ({reason})") from None


def _kind(kind: pa.DataType) -> Kind:
    types = pa.types
    if types.is_boolean(kind):
        return "flag"
    if types.is_temporal(kind):
        return "time"
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return "number" if is_number else "text"


def _text(column: pa.Array) -> pa.Array:
    return (column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column).cast(
        pa.string()
    )
