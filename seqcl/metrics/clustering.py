"""Agreement of a clustering with classes (ARI, NMI), and its silhouette."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["adjusted_rand", "normalized_mutual_information", "silhouette"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def adjusted_rand(classes: Codes, clusters: Codes) -> float:
    """Return the adjusted Rand index (Hubert and Arabie 1985): 1 = equal, 0 = as by chance.

    Both are (N,) codes of any integers; one group in both, or one record a group in both, is 1.
    """
    table = _contingency(classes, clusters)
    together = _pairs(table).sum()
    rows, columns = _pairs(table.sum(1)).sum(), _pairs(table.sum(0)).sum()
    expected = rows * columns / max(_pairs(table.sum()), 1.0)
    highest = (rows + columns) / 2
    if highest == expected:
        return 1.0
    return float((together - expected) / (highest - expected))


def normalized_mutual_information(classes: Codes, clusters: Codes) -> float:
    """Return mutual information over the mean of both entropies, 0 to 1 (1 if both are 0)."""
    joint = _contingency(classes, clusters) / len(classes)
    rows, columns = joint.sum(1), joint.sum(0)
    mean = (_entropy(rows) + _entropy(columns)) / 2
    if mean == 0:
        return 1.0
    shared = _entropy(rows) + _entropy(columns) - _entropy(joint.ravel())
    return float(np.clip(shared / mean, 0.0, 1.0))


def silhouette(distances: Floats, clusters: Codes) -> float | None:
    """Return the mean silhouette (Rousseeuw 1987), -1 to 1; higher = tighter and farther apart.

    `distances` (N, N) are between all records. A record alone in its cluster counts 0. None
    unless there are 2 to N - 1 clusters.
    """
    names, codes = np.unique(clusters, return_inverse=True)
    if not 2 <= len(names) < len(clusters):
        return None
    member = (codes[:, None] == np.arange(len(names))).astype(np.float64)  # (N, K)
    return float(_widths(distances @ member, codes, member.sum(0)).mean())


def _widths(sums: Floats, own: Codes, sizes: Floats) -> Floats:
    """Return the silhouette of each record from its summed distance to each cluster (b, K)."""
    rows = np.arange(len(own))
    inside = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    outside = means.min(1)
    largest = np.maximum(inside, outside)
    width = np.divide(outside - inside, largest, out=np.zeros_like(largest), where=largest > 0)
    return np.where(sizes[own] > 1, width, 0.0)


def _contingency(classes: Codes, clusters: Codes) -> Floats:
    """Count records by class (rows) and cluster (columns)."""
    rows, row_codes = np.unique(classes, return_inverse=True)
    columns, column_codes = np.unique(clusters, return_inverse=True)
    cells = np.bincount(row_codes * len(columns) + column_codes, minlength=len(rows) * len(columns))
    return cells.reshape(len(rows), len(columns)).astype(np.float64)


def _pairs(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(counts * (counts - 1) / 2)


def _entropy(shares: Floats) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
