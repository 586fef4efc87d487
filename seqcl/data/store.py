"""Store: many recordings in one HDF5 file, any window of which is read with one seek.

Layout, format 1 (S steps of all recordings, N recordings, C channels)::

    attributes   format = "seqcl-store", version = 1, rate_hz (NaN = unknown), named (0 or 1);
                 size (2,) int, height and width, where the recordings are images
    values       (S, C) float32, uncompressed, chunks of (1,024, C); recordings end to end
    offsets      (N + 1,) int64: recording i is values[offsets[i]:offsets[i + 1]]
    channels     (C,) UTF-8
    ids          (N,) UTF-8
    labels       (N,) int64, place in `classes`, -1 = none;  classes (K,) UTF-8, JSON
    groups       (N,) int64, place in `group_names`, -1 = none;  group_names (G,) UTF-8

The steps of an image are its pixels, row by row.
Time stamps, labels of steps and pair marks are not kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from seqcl.batch import Entry, Label, Record, Size
from seqcl.data.hdf5 import hdf5_dataset, open_hdf5
from seqcl.data.store_writer import (
    FORMAT,
    VERSION,
    append_records,
    write_arrays,
    write_records,
)
from seqcl.errors import ArtefactError, DataError

__all__ = ["Store", "write_arrays"]

Floats = npt.NDArray[np.float32]

_BLOCK = 65_536


class Store:
    """A store opened for reading; a copy in another process opens the file itself.

    Raises, when it is made, DataError for a file that is not a store, ArtefactError for one
    that is unsafe, inconsistent or of a newer format.

    Attributes:
        channels, named, rate_hz, size: as in `Entry`.
        offsets: (N + 1,) first step of each recording, and the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: tuple[int, h5py.File, h5py.Dataset] | None = None
        file = self._values().file
        self.rate_hz, self.named = _read_attributes(path, file.attrs)
        self.channels = _texts(hdf5_dataset(file, "channels"))
        self.size = _read_size(path, file.attrs)
        self.offsets: npt.NDArray[np.int64] = hdf5_dataset(file, "offsets")[:].astype(np.int64)
        self._check_shapes()

    @staticmethod
    def write(path: Path, records: Iterable[Record]) -> int:
        """Write a new store, whole or not at all; returns the number of records."""
        return write_records(path, records)

    @staticmethod
    def append(path: Path, records: Iterable[Record]) -> int:
        """Add records to a store, all or none of them; returns the number added."""
        Store(path)
        return append_records(path, records)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def entries(self) -> Iterator[Entry]:
        """Yield the recordings; ids are ``file#id`` with the id that was written."""
        file = self._values().file
        classes = [_label(self.path, text) for text in _texts(hdf5_dataset(file, "classes"))]
        groups = _texts(hdf5_dataset(file, "group_names"))
        lengths = np.diff(self.offsets)
        columns = [hdf5_dataset(file, name) for name in ("ids", "labels", "groups")]
        for first in range(0, len(self), _BLOCK):
            block = [column[first : first + _BLOCK] for column in columns]
            if block[1].max() >= len(classes) or block[2].max() >= len(groups):
                raise ArtefactError(f"{self.path}: a label or group is out of range")
            for row, (identity, label, group) in enumerate(zip(*block, strict=True), start=first):
                yield Entry(
                    path=self.path,
                    id=f"{self.path.name}#{identity.decode(errors='replace')}",
                    length=int(lengths[row]),
                    channels=self.channels,
                    rate_hz=self.rate_hz,
                    label=classes[label] if label >= 0 else None,
                    group=groups[group] if group >= 0 else None,
                    key=row,
                    named=self.named,
                    size=self.size,
                )

    def read(self, row: int, start: int, stop: int) -> Floats:
        """Return steps `start` to `stop` of one recording, (C, stop - start).

        Raises DataError where the file no longer holds them, IndexError beyond the recording.
        """
        first, end = int(self.offsets[row]), int(self.offsets[row + 1])
        if not 0 <= start <= stop <= end - first:
            raise IndexError(f"steps {start} to {stop} of {end - first}")
        try:
            values: Floats = self._values()[first + start : first + stop]
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be read at step {first + start}: {error}"
            ) from None
        return values.T

    def _values(self) -> h5py.Dataset:
        """Return `values` of the file as this process has opened it."""
        process = os.getpid()
        if self._open is None or self._open[0] != process:
            if self._open is not None:
                self._open[1].close()
            file = open_hdf5(self.path)
            self._open = (process, file, hdf5_dataset(file, "values"))
        return self._open[2]

    def _check_shapes(self) -> None:
        """Hold the parts of the file against each other, the first that does not fit named."""
        values = self._values()
        columns = [hdf5_dataset(values.file, name) for name in ("ids", "labels", "groups")]
        if values.ndim != 2 or values.dtype != "f4":
            fault = "values is not (steps, channels) float32"
        elif values.shape[1] != len(self.channels):
            fault = "channels do not fit values"
        elif not _rises(self.offsets, len(values)):
            fault = "offsets do not rise from 0 to the number of steps"
        elif self.size is not None and (np.diff(self.offsets) != np.prod(self.size)).any():
            fault = "offsets do not fit the size of the images"
        elif any(column.shape != (len(self),) for column in columns):
            fault = "ids, labels and groups are not one for each recording"
        elif any(column.dtype.kind != kind for column, kind in zip(columns, "Oii", strict=True)):
            fault = "ids are not text, or labels and groups not integers"
        else:
            return
        raise ArtefactError(f"{self.path}: {fault}; write the store again")


def _rises(offsets: npt.NDArray[np.int64], end: int) -> bool:
    ends = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == end
    return bool(ends and (np.diff(offsets) >= 0).all())


def _read_attributes(path: Path, attributes: h5py.AttributeManager) -> tuple[float | None, bool]:
    """Check format and version; return the rate in Hz and whether channels are named."""
    if str(attributes.get("format")) != FORMAT:
        raise DataError(f"{path}: is HDF5 but not a seqcl store; its layout is told in the docs")
    version = attributes.get("version")
    if str(version) != str(VERSION):
        raise ArtefactError(
            f"{path}: is a store of format {version}, this version of seqcl reads {VERSION}; "
            "write it again, or use the seqcl that wrote it"
        )
    try:
        rate, named = float(attributes["rate_hz"]), bool(attributes["named"])
    except (KeyError, TypeError, ValueError):
        raise ArtefactError(f"{path}: rate_hz or named is no number; write it again") from None
    return (None if np.isnan(rate) else rate), named


def _read_size(path: Path, attributes: h5py.AttributeManager) -> Size | None:
    if "size" not in attributes:
        return None
    size = np.asarray(attributes["size"])
    if size.shape != (2,) or size.dtype.kind != "i" or (size < 1).any():
        raise ArtefactError(f"{path}: size is not height and width; write the store again")
    return int(size[0]), int(size[1])


def _texts(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Read a column of UTF-8."""
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.ndim != 1:
        raise ArtefactError(f"{dataset.file.filename}: {dataset.name} is not a column of text")
    return tuple(text.decode(errors="replace") for text in dataset[:])


def _label(path: Path, text: str) -> Label:
    try:
        value: Any = json.loads(text)
    except ValueError:
        raise ArtefactError(f"{path}: class {text!r} is not JSON; write the store again") from None
    return tuple(value) if isinstance(value, list) else value
