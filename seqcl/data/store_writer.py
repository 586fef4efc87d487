"""Writing a store: streamed in blocks, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from seqcl.batch import Record
from seqcl.data.reader import default_channels
from seqcl.errors import DataError, SeqclError
from seqcl.files import fsync_folder

__all__ = ["FORMAT", "VERSION", "append_records", "write_arrays", "write_records"]

FORMAT, VERSION = "seqcl-store", 1

_CHUNK_STEPS = 1_024
_BLOCK_VALUES = 1 << 21


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write a new store in place of `path`; returns the number of records.

    Channels, rate and, for images, size are those of the first record. Raises DataError for a
    record of other channels or another size, or for none at all.
    """
    with _whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        return _write(file, records)


def append_records(path: Path, records: Iterable[Record]) -> int:
    """Add records to a copy of the store, which then takes its place; returns their number."""
    with _whole_file(path) as temporary:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "r+") as file:
            return _write(file, records)


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write an HDF5 file of plain arrays, one dataset a name; text becomes UTF-8."""
    with _whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in arrays.items():
            if array.dtype.kind == "U":
                file.create_dataset(name, data=array.astype(object), dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=array)


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path that becomes `path` once the block is done, or is removed.

    Raises SeqclError where the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise SeqclError(f"{path}: cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def _write(file: h5py.File, records: Iterable[Record]) -> int:
    writer: _Writer | None = None
    for record in records:
        if "values" not in file:
            _create(file, record)
        writer = writer or _Writer(file)
        writer.add(record)
    if writer is None:
        raise DataError("no records to write; a store needs at least one")
    writer.flush()
    return writer.count


def _create(file: h5py.File, record: Record) -> None:
    """Lay out an empty store for records like this one."""
    channels = record.channels or default_channels(len(record.values))
    rate = float("nan") if record.rate_hz is None else record.rate_hz
    named = record.channels is not None and channels != default_channels(len(channels))
    file.attrs.update({"format": FORMAT, "version": VERSION, "rate_hz": rate, "named": int(named)})
    if record.values.ndim == 3:
        file.attrs["size"] = np.array(record.values.shape[1:], dtype=np.int64)
    text = h5py.string_dtype()
    file.create_dataset("channels", data=list(channels), dtype=text)
    width = len(channels)
    file.create_dataset(
        "values", (0, width), "f4", maxshape=(None, width), chunks=(_CHUNK_STEPS, width)
    )
    file.create_dataset("offsets", data=np.zeros(1, np.int64), maxshape=(None,), chunks=(1024,))
    for name in ("labels", "groups"):
        file.create_dataset(name, (0,), np.int64, maxshape=(None,), chunks=(1024,))
    for name in ("ids", "classes", "group_names"):
        file.create_dataset(name, (0,), text, maxshape=(None,), chunks=(1024,))


class _Writer:
    """Gathers records and appends them a block at a time."""

    def __init__(self, file: h5py.File) -> None:
        self.file = file
        self.channels = tuple(file["channels"].asstr()[:])
        self.size = tuple(file.attrs.get("size", ()))
        self.count = 0
        self._codes = {
            name: {text: code for code, text in enumerate(file[name].asstr()[:])}
            for name in ("classes", "group_names")
        }
        self._pending: list[Record] = []
        self._values = 0

    def add(self, record: Record) -> None:
        """Take one record; raises DataError where its channels or its size are others."""
        channels = record.channels or default_channels(len(record.values))
        if channels != self.channels or len(record.values) != len(channels):
            raise DataError(
                f"{record.id}: has channels {', '.join(channels)}, the store has "
                f"{', '.join(self.channels)}; select the same ones in the same order"
            )
        size = record.values.shape[1:] if record.values.ndim == 3 else ()
        if size != self.size:
            raise DataError(
                f"{record.id}: has shape {record.values.shape}, and the store holds "
                f"{f'images of {self.size}' if self.size else 'series'}; write a store for each"
            )
        self._pending.append(record)
        self.count += 1
        self._values += record.values.size
        if self._values >= _BLOCK_VALUES:
            self.flush()

    def flush(self) -> None:
        """Append what was gathered."""
        records = self._pending
        if not records:
            return
        flat = [record.values.reshape(len(self.channels), -1) for record in records]
        lengths = [part.shape[1] for part in flat]
        steps = np.concatenate(flat, axis=1).T
        first = len(self.file["values"])
        labels = [None if r.label is None else json.dumps(r.label) for r in records]
        columns = {
            "values": steps,
            "offsets": first + np.cumsum(lengths),
            "ids": [_utf8(record.id) for record in records],
            "labels": self._encode("classes", labels),
            "groups": self._encode("group_names", [record.group for record in records]),
        }
        for name, column in columns.items():
            _extend(self.file[name], column)
        self._pending, self._values = [], 0

    def _encode(self, name: str, items: Sequence[str | None]) -> list[int]:
        """Return the code of each text, -1 for None; new texts are added to the file."""
        codes = self._codes[name]
        known = len(codes)
        found = [-1 if item is None else codes.setdefault(item, len(codes)) for item in items]
        if len(codes) > known:
            _extend(self.file[name], list(codes)[known:])
        return found


def _utf8(text: str) -> str:
    """Replace what a file name that is not UTF-8 brought in."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _extend(dataset: h5py.Dataset, rows: Any) -> None:
    before = len(dataset)
    dataset.resize(before + len(rows), axis=0)
    dataset[before:] = rows
