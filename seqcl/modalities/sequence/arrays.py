"""NpzReader and NpyReader: arrays of records saved by numpy, whose pickles are never loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from seqcl.batch import Label
from seqcl.data.reader import default_channels, observed_lengths
from seqcl.errors import DataError
from seqcl.modalities.sequence.collection import Collection, CollectionReader
from seqcl.modalities.sequence.numpy_files import (
    array_faults,
    open_archive,
    open_array,
    open_member,
)

__all__ = ["NpyReader", "NpzReader", "array_labels", "array_texts"]

Array = npt.NDArray[Any]

_IMAGES = "; for images use a preset of modality image, or set data.layout=CHW"


class NpzReader(CollectionReader):
    """Reads the records of an ``.npz`` archive.

    ``X`` is (n, C, T), or (n, T) for one channel; NaN is missing, and steps at the end at which
    every channel is NaN are padding. Optional: ``y`` (n,) labels, ``groups`` (n,) and ``pairs``
    (n,) marks, an empty text = none, under other names by data.label, data.group and data.pair,
    ``channels`` (C,) names, and ``rate_hz``, one number, which must be that of data.rate_hz where
    that is set. An ``X`` saved by
    ``np.savez`` stays on disk and is mapped; one saved compressed is unpacked once per file.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".npz",)

    def load(self, path: Path) -> Collection:
        """Open the archive; raises DataError or ArtefactError that names it."""
        with array_faults(path), open_archive(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if "X" not in names:
                packed = any(name.endswith("_blob") for name in names)
                raise DataError(
                    f"{path}: has no array 'X' of shape (n, channels, steps); found: "
                    f"{', '.join(names) or 'nothing'}{_IMAGES if packed else ''}"
                )
            arrays = {"X": open_member(path, archive, "X")}
            columns = self.columns
            wanted = {"y": columns.label, "groups": columns.group, "pairs": columns.pair}
            wanted |= {"channels": None, "rate_hz": None}
            for role, asked in wanted.items():
                name = asked or role
                if name in names:
                    arrays[role] = open_member(path, archive, name)
                elif asked:
                    raise DataError(f"{path}: has no array {name!r}; found: {', '.join(names)}")
        rate = arrays.pop("rate_hz", None)
        return replace(_collection(path, **arrays), rate_hz=_rate(path, rate, columns.rate_hz))


class NpyReader(CollectionReader):
    """Reads the records of an ``.npy`` file, which is what ``X`` is in an ``.npz``.

    (n, C, T) is n records; (n, T) is n records of one channel, as everywhere in this field, so
    that a single recording of several channels is saved as (1, C, T); (T,) is one record.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".npy",)

    def load(self, path: Path) -> Collection:
        """Map the file; raises DataError or ArtefactError that names it."""
        with array_faults(path):
            array = open_array(path)
        return _collection(path, array[None] if array.ndim == 1 else array)


def _collection(
    path: Path,
    X: Array,
    y: Array | None = None,
    groups: Array | None = None,
    pairs: Array | None = None,
    channels: Array | None = None,
) -> Collection:
    if X.ndim not in (2, 3) or X.dtype.kind not in "fiub":
        raise DataError(
            f"{path}: X is {X.shape} of {X.dtype}; needed: numbers of shape (records, channels, "
            f"steps) or (records, steps){_IMAGES if X.ndim == 4 else ''}"
        )
    X = X[:, None, :] if X.ndim == 2 else X
    if 0 in X.shape:
        raise DataError(f"{path}: X is {X.shape}: it holds no values")
    count, width, _ = X.shape
    for name, array, size in (
        ("y", y, count),
        ("groups", groups, count),
        ("pairs", pairs, count),
        ("channels", channels, width),
    ):
        if array is not None and array.shape != (size,):
            raise DataError(f"{path}: X is {X.shape} and {name} {array.shape}; needed: ({size},)")
    names = None if channels is None else tuple(map(str, array_texts(path, "channels", channels)))
    return Collection(
        series=X,  # type: ignore[arg-type]  # iterates and indexes as (C, T) arrays
        channels=names or default_channels(width),
        named=names is not None,
        lengths=_lengths(X),
        labels=None if y is None else array_labels(path, y),
        groups=None if groups is None else list(map(str, array_texts(path, "groups", groups))),
        pairs=None
        if pairs is None
        else [str(t) or None for t in array_texts(path, "pairs", pairs)],
    )


def _rate(path: Path, found: Array | None, asked: int | None) -> float | None:
    """Return samples a second; raises DataError where they are not what is asked for."""
    if found is None:
        return None if asked is None else float(asked)
    if found.size != 1 or found.dtype.kind not in "fiu" or not found.item() > 0:
        raise DataError(f"{path}: rate_hz is {found}; needed: one number above 0")
    rate = float(found.item())
    if asked is not None and rate != asked:
        raise DataError(
            f"{path}: has {rate:g} Hz, and data.rate_hz asks for {asked}; arrays are not "
            f"resampled: resample X, or give the audio files"
        )
    return rate


def _lengths(X: Array) -> list[int] | None:
    """Return steps before padding; looks inside those records only that end in NaN."""
    if X.dtype.kind != "f":
        return None
    lengths = np.full(len(X), X.shape[2], dtype=np.int64)
    for row in np.flatnonzero(np.isnan(X[:, :, -1]).all(axis=1)):
        lengths[row] = observed_lengths(X[row : row + 1])[0]
    return [int(length) for length in lengths]


def array_labels(path: Path, y: Array) -> list[Label | None]:
    """Return whole numbers as int, NaN and empty texts as None, the rest as it is."""
    if y.dtype.kind not in "fiubUS":
        raise DataError(f"{path}: y is {y.dtype}; needed: numbers or text")
    if y.dtype.kind == "f":
        if np.isinf(y).any():
            raise DataError(
                f"{path}: y is {y[np.isinf(y)][0]} in record {np.flatnonzero(np.isinf(y))[0]}; "
                "needed: finite numbers, NaN where there is no label"
            )
        known = y[~np.isnan(y)]
        convert = int if np.array_equal(known, np.rint(known)) else float
        return [None if np.isnan(value) else convert(value) for value in y]
    return [None if label == "" else label for label in array_texts(path, "y", y)]


def array_texts(path: Path, name: str, array: Array) -> list[Any]:
    """Return what an array holds, bytes as text; raises DataError where they are not UTF-8."""
    try:
        texts = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: {name} holds bytes that are not UTF-8 ({error.object!r}); save it as text"
        ) from None
    return cast(list[Any], texts.tolist())
