"""Spool: rows of many tables, in memory while they are few, then in one temporary file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from seqcl.errors import DataError

__all__ = ["Rows", "Spool"]

Structured = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table: a structured array, or where it lies in the temporary file."""

    dtype: np.dtype[Any]
    count: int
    array: Structured | None
    file: IO[bytes] | None = None
    offset: int = 0

    def read(self, start: int, stop: int) -> Structured:
        """Return rows `start` to `stop`; the array is not to be written to."""
        if self.array is not None:
            return self.array[start:stop]
        assert self.file is not None
        size, row = (stop - start) * self.dtype.itemsize, self.dtype.itemsize
        data = bytearray()
        while len(data) < size:  # one call moves at most 2 GiB; pread is safe after a fork
            part = os.pread(
                self.file.fileno(), size - len(data), self.offset + start * row + len(data)
            )
            if not part:
                raise DataError(f"the temporary file ends {size - len(data)} bytes too early")
            data += part
        return np.frombuffer(data, dtype=self.dtype)

    def blocks(self, start: int, stop: int, size: int = 1 << 18) -> Iterator[Structured]:
        """Yield rows `start` to `stop` in blocks of at most `size`."""
        for first in range(start, stop, size):
            yield self.read(first, min(first + size, stop))


class Spool:
    """Keeps tables of any size with bounded memory.

    The temporary file has no name in the folder (TMPDIR chooses it), so it is gone with the
    process however that ends. One descriptor serves all tables and all forked workers.

    Args:
        memory_bytes: what all tables together may take before the file is used.
    """

    def __init__(self, memory_bytes: int = 64 << 20) -> None:
        self.free_bytes = memory_bytes
        self._file: IO[bytes] | None = None
        self._end = 0

    @property
    def on_disk(self) -> bool:
        """Whether the temporary file is in use."""
        return self._end > 0

    def add(self, blocks: Iterable[Structured], dtype: np.dtype[Any]) -> Rows:
        """Take the rows of one table; nothing of it is kept where `blocks` raises."""
        kept: list[Structured] = []
        size, start = 0, self._end
        try:
            for block in blocks:
                size += block.nbytes
                kept.append(block)
                if size > self.free_bytes:
                    self._write(kept)
                    kept.clear()
        except BaseException:
            self._end = start
            raise
        if self._end > start:
            self._write(kept)
            return Rows(dtype, size // dtype.itemsize, None, self._file, start)
        self.free_bytes -= size
        return Rows(dtype, size // dtype.itemsize, np.concatenate([*kept, np.empty(0, dtype)]))

    def _write(self, blocks: list[Structured]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="seqcl-")  # noqa: SIM115 - as long as self
        try:
            for block in blocks:
                self._file.seek(self._end)
                self._file.write(block.tobytes())
                self._end += block.nbytes
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{tempfile.gettempdir()}: cannot hold the tables, {error.strerror}; "
                "set TMPDIR to a folder with more room"
            ) from None
