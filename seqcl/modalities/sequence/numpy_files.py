"""Arrays of ``.npy`` and ``.npz`` files, opened without unpickling and mapped where possible.

A header is held against the bytes that follow it before any memory is taken.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from seqcl.errors import ArtefactError, DataError, MissingInputError
from seqcl.modalities.sequence.unpacking import refuse_bomb

__all__ = ["array_faults", "open_archive", "open_array", "open_member"]

UNPACKED_BYTES = 8 << 30
"""What one compressed array may unpack to; an uncompressed one is mapped, whatever its size."""

Array = npt.NDArray[Any]


@contextmanager
def array_faults(path: Path) -> Iterator[None]:
    """Turn what zipfile, zlib and numpy raise on a broken file into one line."""
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: is damaged ({_one_line(error)}); save it again") from None
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in another way
        raise DataError(f"{path}: {_one_line(error)}; save it with np.savez") from None


def open_array(path: Path) -> Array:
    """Map an ``.npy`` file."""
    with path.open("rb") as file:
        header = _read_header(path, "the array", file, path.stat().st_size)
        return _map(path, header, file.tell())


def open_archive(path: Path, data: bytes | None = None) -> zipfile.ZipFile:
    """Open an ``.npz`` file, or the `data` that were unpacked from `path`.

    Raises ArtefactError for a pickle under its name.
    """
    with path.open("rb") if data is None else io.BytesIO(data) as file:
        start = file.read(2)
    if start[:1] == b"\x80":
        raise ArtefactError(
            f"{path}: is a pickle, which is never loaded; save the arrays with np.savez"
        )
    if start != b"PK":
        raise DataError(f"{path}: is no .npz archive; save the arrays with np.savez")
    return zipfile.ZipFile(path if data is None else io.BytesIO(data))


def open_member(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    """Return one array of an archive: mapped if it is stored in a file, else unpacked."""
    info = archive.getinfo(f"{name}.npy")
    is_stored = info.compress_type == zipfile.ZIP_STORED
    is_mapped = is_stored and archive.filename is not None
    if not is_stored:
        _refuse_too_large(f"{path}: array {name!r}", info.compress_size, info.file_size)
    with archive.open(info) as file:
        header = _read_header(path, name, file, info.file_size)
        if is_mapped:
            return _map(path, header, _first_byte(path, info) + file.tell())
        flat = np.frombuffer(file.read(), dtype=header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


@dataclass(frozen=True, slots=True)
class _Header:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def _read_header(path: Path, name: str, file: IO[bytes], size: int) -> _Header:
    """Read the header of an array of `size` bytes in all and hold it against them."""
    version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise DataError(f"{path}: {name} has .npy version {version}; save it as plain numbers")
    header = _Header(*read(file))  # type: ignore[no-untyped-call]
    if header.dtype.hasobject:
        raise ArtefactError(
            f"{path}: {name} holds Python objects, which would have to be unpickled and never "
            "are; save numbers padded with NaN to one length: np.savez(path, X=X, y=y)"
        )
    promised = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    follow = size - file.tell()
    if promised != follow or min(header.shape, default=0) < 0:
        raise DataError(
            f"{path}: {name} claims shape {header.shape} of {header.dtype}, {promised:,} bytes, "
            f"but {follow:,} follow; save it again"
        )
    return header


def _map(path: Path, header: _Header, offset: int) -> Array:
    if 0 in header.shape:
        return np.empty(header.shape, header.dtype)
    order: Any = "F" if header.fortran else "C"
    return np.memmap(path, header.dtype, "r", offset, header.shape, order)


def _first_byte(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin: after its local header, its name and its extra."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        sizes = np.frombuffer(file.read(4), "<u2")
    return info.header_offset + 30 + int(sizes.sum())


def _refuse_too_large(what: str, packed: int, size: int) -> None:
    advice = "save it uncompressed with np.savez if it is meant to"
    refuse_bomb(what, packed, size, advice)
    if size > UNPACKED_BYTES:
        raise DataError(f"{what} unpacks to {size:,} bytes of memory; {advice}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
