"""How near records are to a gallery, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Metric", "Vectors", "distances", "similarity_blocks"]

Metric = Literal["cosine", "euclidean"]
Vectors = npt.NDArray[np.floating]

_BLOCK = 1 << 22
"""Numbers of one block: 32 MiB in float64."""
_DIGITS = 12
"""Decimals that are kept, so that equal records tie whatever the order of summation was."""


def similarity_blocks(
    queries: Vectors, gallery: Vectors, metric: Metric, *, leave_one_out: bool = False
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    """Yield (rows of `queries`, similarity (b, G)) until all queries are done.

    Similarity is the cosine (0 where a vector is zero), or minus the Euclidean distance: higher
    = nearer. Computed in float64 and rounded in the twelfth decimal (of the gallery's spread, for
    distances). With `leave_one_out` the queries are the gallery, and each one's similarity with
    itself is -inf.
    """
    centre, spread = _frame(gallery, metric)
    step = max(1, min(1024, _BLOCK // max(1, len(gallery)), _BLOCK // max(1, queries.shape[1])))
    for first in range(0, len(queries), step):
        rows = slice(first, min(first + step, len(queries)))
        block = _similarity(queries[rows], gallery, metric, centre, spread)
        if leave_one_out:
            block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = -np.inf
        yield rows, block


def distances(values: Vectors) -> npt.NDArray[np.float64]:
    """Return all Euclidean distances (N, N) of `values` (N, E)."""
    out = np.empty((len(values), len(values)))
    for rows, block in similarity_blocks(values, values, "euclidean"):
        np.negative(block, out=out[rows])
    return out


def _frame(gallery: Vectors, metric: Metric) -> tuple[npt.NDArray[np.float64], float]:
    """Return the origin and the unit of distances: small numbers keep their differences."""
    if metric == "cosine":
        return np.zeros(gallery.shape[1]), 1.0
    centre = gallery.mean(axis=0, dtype=np.float64)
    variance = float(gallery.var(axis=0, dtype=np.float64).sum())
    return centre, variance**0.5 or 1.0


def _similarity(
    queries: Vectors,
    gallery: Vectors,
    metric: Metric,
    centre: npt.NDArray[np.float64],
    spread: float,
) -> npt.NDArray[np.float64]:
    """Return (b, G); the gallery is converted to float64 part by part."""
    out = np.empty((len(queries), len(gallery)))
    left = _in_frame(queries, metric, centre, spread)
    step = max(1, _BLOCK // max(1, gallery.shape[1]))
    for first in range(0, len(gallery), step):
        right = _in_frame(gallery[first : first + step], metric, centre, spread)
        product = left @ right.T
        if metric == "euclidean":
            squares = (left**2).sum(1)[:, None] + (right**2).sum(1)
            product = -np.sqrt(np.maximum(np.round(squares - 2 * product, _DIGITS), 0.0))
        out[:, first : first + step] = product
    return np.round(out, _DIGITS) * spread


def _in_frame(
    values: Vectors, metric: Metric, centre: npt.NDArray[np.float64], spread: float
) -> npt.NDArray[np.float64]:
    moved = (values.astype(np.float64) - centre) / spread
    if metric == "cosine":
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        moved /= np.where(norms > 0, norms, 1.0)
    return moved
