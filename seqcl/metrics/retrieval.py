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
    scores = np.full((len(queries), 3), np.nan)
    members = {code: np.flatnonzero(gallery_codes == code) for code in np.unique(query_codes)}
    for rows, block in similarity_blocks(queries, gallery, metric, leave_one_out=leave_one_out):
        ordered = np.sort(block, axis=1)
        for place, row in enumerate(range(rows.start, rows.stop)):
            relevant = members[query_codes[row]]
            if leave_one_out:
                relevant = relevant[relevant != row]
            if len(relevant):
                ranks = _ranks(block[place], ordered[place], relevant)
                scores[row] = _ranking_scores(ranks, cutoff)
    return dict(zip(names, scores.T, strict=True))


def _ranks(similarity: Floats, ordered: Floats, relevant: Codes) -> Codes:
    """Return the ranks (1 = nearest) of the `relevant` columns of one query, rising.

    `ordered` is `similarity` (G,) sorted: a search in it costs less than ranking everything, and
    only where a relevant record is as near as another one does their order have to be known.
    """
    values = similarity[relevant]
    not_farther = np.searchsorted(ordered, values, side="right")
    if (np.searchsorted(ordered, values, side="left") < not_farther - 1).any():
        place = np.empty(len(ordered), np.int64)
        place[np.argsort(-similarity, kind="stable")] = np.arange(len(ordered))
        return np.sort(place[relevant]) + 1
    return np.sort(len(ordered) - not_farther) + 1


def _ranking_scores(ranks: Codes, cutoff: int) -> tuple[float, float, float]:
    """Return P@1, AP and AP@cutoff of one ranking from the ranks of its relevant records."""
    precision = np.arange(1, len(ranks) + 1) / ranks
    short = precision[ranks <= cutoff].sum() / min(len(ranks), cutoff)
    return float(ranks[0] == 1), float(precision.mean()), float(short)
