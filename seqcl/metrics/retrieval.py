"""Precision at 1 and average precision of ranked galleries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seqcl.metrics.similarity import Metric, Vectors, similarity_blocks

__all__ = ["retrieval_scores"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def retrieval_scores(
    queries: Vectors,
    query_codes: Codes,
    gallery: Vectors,
    gallery_codes: Codes,
    metric: Metric,
    *,
    leave_one_out: bool = False,
    cutoff: int = 10,
) -> dict[str, Floats]:
    """Return P@1, AP and AP at `cutoff` of each query, (N,) each; NaN = nothing is relevant.

    A gallery record is relevant if its class code is the query's. AP is the mean, over the
    relevant records, of the precision at their ranks in the full ranking; AP at n sums over ranks
    up to n and divides by min(n, relevant records). Equally near records keep the gallery's
    order. With `leave_one_out` the queries are the gallery and no record finds itself.
    """
    names = ("p_at_1", "map", f"map_at_{cutoff}")
    scores = {name: np.full(len(queries), np.nan) for name in names}
    for rows, block in similarity_blocks(queries, gallery, metric, leave_one_out=leave_one_out):
        order = np.argsort(-block, axis=1, kind="stable")
        if leave_one_out:
            order = order[:, :-1]  # itself, at -inf, is last
        relevant = gallery_codes[order] == query_codes[rows, None]
        for name, values in zip(names, _ranking_scores(relevant, cutoff), strict=True):
            scores[name][rows] = values
    return scores


def _ranking_scores(relevant: npt.NDArray[np.bool_], cutoff: int) -> tuple[Floats, Floats, Floats]:
    """Return P@1, AP and AP@cutoff of (b, G) rankings; NaN where no record is relevant."""
    total = relevant.sum(1)
    found = np.where(total > 0, total, np.nan)
    precision = relevant.cumsum(1) / np.arange(1, relevant.shape[1] + 1) * relevant
    top = precision[:, :cutoff].sum(1) / np.minimum(found, cutoff)
    first = np.where(total > 0, relevant[:, :1].sum(1), np.nan)
    return first, precision.sum(1) / found, top
