"""Series: one recording as the detector takes it, rows in the order of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.data.dataset import Dataset

__all__ = ["Series", "filled", "series_of"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Series:
    """A recording: T rows of C channels."""

    values: Floats
    """(T, C); NaN = missing."""
    id: str = "series"
    times: Ints | None = None
    """(T,) nanoseconds since 1970."""
    labels: Ints | None = None
    """(T,) 1 = anomalous, 0 = normal, -1 = unknown; read by `evaluate` alone."""
    rate_hz: float | None = None
    group: str | None = None
    """The machine, plant or subject that it is of."""

    def __len__(self) -> int:
        return len(self.values)


def series_of(dataset: Dataset) -> Iterable[Series]:
    """Yield the recordings of a dataset that is not cut into windows, one in memory at a time."""
    for row in range(len(dataset)):
        record = dataset.record(row)
        yield Series(
            np.ascontiguousarray(record.values.T), record.id, record.times, record.step_labels,
            record.rate_hz, record.group,
        )  # fmt: skip


def filled(values: Floats, start: Floats | None = None) -> Floats:
    """Return (T, C) in which a missing value is the last one before it; `values` if none misses.

    `start` (C,) stands before the first row; NaN, or None, leaves leading gaps as they are.
    """
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    if start is not None:
        values = np.concatenate([start[None], values])
        gaps = np.isnan(values)
    rows = np.where(gaps, 0, np.arange(len(values))[:, None])
    held = np.take_along_axis(values, np.maximum.accumulate(rows, 0), 0)
    return held if start is None else held[1:]
