"""k nearest neighbours by exact search, and their vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.metrics.similarity import Metric, Vectors, similarity_blocks

__all__ = ["Neighbours", "nearest", "vote"]


@dataclass(frozen=True)
class Neighbours:
    """The k nearest gallery records of each query, nearest first."""

    index: npt.NDArray[np.int64]
    """(N, k) rows of the gallery."""
    similarity: npt.NDArray[np.float64]
    """(N, k) cosine, or minus the Euclidean distance: higher = nearer."""


def nearest(queries: Vectors, gallery: Vectors, k: int, metric: Metric) -> Neighbours:
    """Find the `k` nearest of `gallery` (G, E) for each of `queries` (N, E).

    Equally near records come in the order of the gallery. Raises ValueError unless 1 <= k <= G.
    """
    if not 1 <= k <= len(gallery):
        raise ValueError(f"nearest: k is {k}; needed is 1 to {len(gallery)}, the gallery's records")
    index = np.empty((len(queries), k), np.int64)
    similarity = np.empty((len(queries), k))
    for rows, block in similarity_blocks(queries, gallery, metric):
        index[rows] = _top(block, k)
        similarity[rows] = np.take_along_axis(block, index[rows], axis=1)
    return Neighbours(index, similarity)


def vote(
    codes: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return each query's class and its share of the votes, both (N,).

    Args:
        codes: (N, k) classes of the neighbours, nearest first.
        weights: (N, k) what each neighbour's vote counts.

    Of classes with equal votes the one with the nearest member wins, so that names and numbers
    of the classes do not matter.
    """
    support = np.stack(
        [(weights * (codes == codes[:, [j]])).sum(1) for j in range(codes.shape[1])], axis=1
    )  # (N, k): votes for the class of neighbour j
    share = support / weights.sum(1, keepdims=True)
    best = share.max(1, keepdims=True)
    winner = (share >= best - 1e-12).argmax(1)[:, None]  # sums of equal votes differ by rounding
    chosen: npt.NDArray[np.int64] = np.take_along_axis(codes, winner, 1)[:, 0]
    return chosen, best[:, 0]


def _top(block: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.int64]:
    """Return the columns of the k largest of each row; ties by column."""
    if k == 1:
        return np.asarray(block.argmax(1)[:, None], np.int64)
    last = np.partition(block, -k, axis=1)[:, [-k]]
    chosen = np.empty((len(block), k), np.int64)
    for row, inside in enumerate(block >= last):
        columns = np.flatnonzero(inside)
        order = np.argsort(-block[row, columns], kind="stable")
        chosen[row] = columns[order[:k]]
    return chosen
