"""Rows: some records of a dataset as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.batch import Size

__all__ = ["Rows"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a dataset, B of them, as arrays."""

    values: Floats
    """(B, C, longest); NaN = missing, or beyond the row's length. The pixels of an image are in
    row-major order."""
    lengths: Ints
    """(B,) steps."""
    start: Ints | None
    """(B,) first step in the recording; None where rows are whole recordings."""
    labels: Ints | None
    """(B,) places in `Dataset.classes`, -1 = unknown; None where no record has a label."""
    groups: Ints | None
    """(B,) group numbers; a recording without a group has one of its own; None where rows are
    whole recordings and none has a group."""
    pairs: Ints | None = None
    """(B,) pair numbers, as in `Batch.pairs`; None where no record has a mark."""
    size: Size | None = None
    """Height and width of the images; None = series."""
    recordings: Ints | None = None
    """(B,) number of the recording that the row is a window of; None as for `start`."""
