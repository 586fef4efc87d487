"""Text and gzip input: lines in UTF-8, and what tells a bomb from a file that packs well."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from seqcl.errors import DataError

__all__ = ["open_unpacked", "read_lines", "refuse_bomb"]

BOMB_BYTES, BOMB_RATIO = 256 << 20, 500
"""Above this size nothing may have been packed by more than this. Deflate ends at 1,032 : 1, which
only bombs come near; telemetry with mostly constant channels reaches 60."""
LINE_BYTES = 1 << 24
"""A longer line is read as several, so that a file without line ends cannot fill the memory."""


def refuse_bomb(what: str, packed: int, size: int, advice: str) -> None:
    """Raise DataError where `packed` bytes become more than any data would."""
    if size > BOMB_BYTES and size > BOMB_RATIO * max(1, packed):
        raise DataError(f"{what} unpacks from {packed:,} to more than {size - 1:,} bytes; {advice}")


def open_unpacked(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked if its first bytes say that it is gzip."""
    file = path.open("rb")
    if file.peek(2)[:2] != b"\x1f\x8b":
        return file
    file.close()
    return cast(IO[bytes], io.BufferedReader(_Gunzip(path), 1 << 16))


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a text; raises DataError at the first that is not UTF-8."""
    with open_unpacked(path) as stream:
        for number, raw in enumerate(iter(lambda: stream.readline(LINE_BYTES), b""), 1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}:{number}: byte 0x{raw[error.start]:02x} at {error.start} is not "
                    "UTF-8; save the file as UTF-8 text"
                ) from None


class _Gunzip(io.RawIOBase):
    """A gzip stream that stops at damage and at bombs with one line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packed = path.stat().st_size
        self._file = gzip.open(path)  # noqa: SIM115 - closed with self
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count = self._file.readinto(buffer)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self._path}: is damaged ({error}); pack it again") from None
        self._size += count
        advice = "give it unpacked if it is meant to"
        refuse_bomb(str(self._path), self._packed, self._size, advice)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
