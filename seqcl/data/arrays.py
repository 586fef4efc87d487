"""Arrays of the caller as recordings in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from seqcl.batch import Entry, Label, Size
from seqcl.data.images import channels_first, unit_images
from seqcl.data.reader import default_channels, observed_lengths
from seqcl.data.recordings import Recordings, RecordingsBuilder
from seqcl.data.values import MemoryValues
from seqcl.errors import DataError

__all__ = ["arrays_to_memory", "to_label"]

Floats = npt.NDArray[np.float32]

_FORMS = "numbers: (n, C, T), a list of (C, T_i), or (n, C, H, W); files go to `seqcl embed --data`"


def arrays_to_memory(
    X: Any,
    y: Iterable[Any] | None,
    groups: Iterable[Any] | None,
    ids: Iterable[str] | None,
    pairs: Iterable[str | None] | None = None,
) -> tuple[Recordings, MemoryValues, int]:
    """Copy arrays into recordings and values; returns the number of channels too.

    See `seqcl.data.dataset.dataset_from_arrays`.
    """
    if isinstance(X, str | bytes | Path) or not hasattr(X, "__len__"):
        raise TypeError(f"X is a {type(X).__name__}; needs {_FORMS}")
    if not len(X):
        raise DataError("X is empty; give at least one record")
    series, size = _series(X)
    channels = series[0].shape[0]
    names = [f"#{row}" for row in range(len(series))] if ids is None else list(ids)
    labels = _column("y", y, len(series))
    members = _column("groups", groups, len(series))
    marks = _column("pairs", pairs, len(series))
    if len(names) != len(series):
        raise ValueError(f"ids has {len(names)} items for {len(series)} records in X")
    builder = RecordingsBuilder()
    columns = zip(names, series, labels, members, marks, strict=True)
    for name, part, label, group, mark in columns:
        if part.shape[0] != channels:
            raise DataError(f"record {name} has {part.shape[0]} channels, the first {channels}")
        if not part.shape[1]:
            raise DataError(f"record {name} has no observed value; drop it from X")
        builder.add(
            Entry(
                path=Path(),
                id=name,
                length=part.shape[1],
                channels=default_channels(channels),
                label=label,
                group=None if group is None else str(group),
                pair=None if mark is None else str(mark),
                size=size,
            )
        )
    recordings = builder.build()
    return recordings, _end_to_end(series, recordings.lengths), channels


def to_label(value: Any) -> Label | None:
    """Return a label as a plain Python value; None, NaN and an empty text are no label."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, np.ndarray):
        raise TypeError(f"a label is an array of shape {plain.shape}; needs one value a record")
    if plain is None or plain != plain or plain == "":
        return None
    if isinstance(plain, list | tuple):
        return tuple(str(tag) for tag in plain)
    if not isinstance(plain, int | str | float):
        raise TypeError(f"label {value!r} is a {type(value).__name__}; needs int, str or float")
    return plain


def _series(X: Any) -> tuple[list[Floats], Size | None]:
    """Return the records as (C, T_i) arrays, without the padding of a rectangular array.

    Images (n, C, H, W) become (C, H * W), and their size is returned too.
    """
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)
    if isinstance(X, list | tuple):
        if any(isinstance(part, str | bytes | Path) for part in X):
            raise TypeError(f"X holds text ({X[0]!r}); needs {_FORMS}")
        if np.ndim(X[0]) == 2:
            return [_float32(part) for part in X], None
        if all(np.ndim(part) == 1 for part in X) and len({len(part) for part in X}) > 1:
            return [_float32(part)[None] for part in X], None
    if np.ndim(X) == 4:
        images = unit_images("X", channels_first("X", _array(X)))
        return list(images.reshape(*images.shape[:2], -1)), images.shape[2:]
    values = _float32(X)
    if values.ndim == 2:
        values = values[:, None, :]
    if values.ndim != 3:
        raise ValueError(f"X has shape {values.shape}; needs {_FORMS}")
    lengths = observed_lengths(values).tolist()
    return [part[:, :length] for part, length in zip(values, lengths, strict=True)], None


def _array(X: Any) -> npt.NDArray[Any]:
    """Return an array, a tensor or nested lists as an array; a mask stays."""
    if isinstance(X, Tensor):
        X = X.detach().cpu()
        X = (X.float() if X.is_floating_point() else X).numpy()
    return np.asanyarray(X)


def _float32(X: Any) -> Floats:
    """Return an array, a tensor or nested lists as float32; what is masked becomes NaN."""
    array = _array(X)
    if array.dtype.kind == "c":
        raise TypeError(f"X is {array.dtype}; give real values, as np.abs(X)")
    if array.dtype.kind in "USmM":
        raise TypeError(f"X is {array.dtype}; needs {_FORMS}")
    with np.errstate(over="ignore"):  # where it is told, the record and the step are known
        values = array.astype(np.float32, copy=False)
    return values.filled(np.nan) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)


def _column(name: str, items: Iterable[Any] | None, count: int) -> Sequence[Label | None]:
    if items is None:
        return [None] * count
    shape = getattr(items, "shape", None)
    if shape is not None and len(shape) != 1:
        raise ValueError(f"{name} has shape {tuple(shape)}; needs one item a record")
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise TypeError(f"{name} is a {type(items).__name__}; needs a list of one item a record")
    column = [to_label(item) for item in items]
    if len(column) != count:
        raise ValueError(f"{name} has {len(column)} items for {count} records in X")
    return column


def _end_to_end(series: Sequence[Floats], lengths: npt.NDArray[np.int64]) -> MemoryValues:
    ends = np.cumsum(lengths)
    flat = np.full((len(series[0]), int(ends[-1] + lengths.max())), np.nan, dtype=np.float32)
    for part, end in zip(series, ends.tolist(), strict=True):
        flat[:, end - part.shape[1] : end] = part
    return MemoryValues(flat, ends - lengths)
