"""Average precision: the mean, over what should be found, of the precision where it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["average_precision"]


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the average precision of `scores` (n,), higher = more likely, for `labels` (n,).

    Equal scores count as one step: ``sum (R_k - R_(k-1)) P_k`` over the distinct scores. Raises
    ValueError without a true label.
    """
    labels, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    if labels.shape != scores.shape or not labels.any():
        raise ValueError("average_precision: needs as many scores as labels, and a true label")
    order = np.argsort(-scores, kind="stable")
    hits = labels[order].cumsum()
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    gained = np.diff(hits[ends], prepend=0)
    return float((gained * hits[ends] / (ends + 1)).sum() / hits[-1])
