"""Two coordinates per embedding for a map, by principal components."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["embedding_map"]


def embedding_map(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Project (N, D) on its two leading principal components: (N, 2) scores.

    The sign of each component is fixed (its largest loading is positive), so the same embeddings
    give the same map on every machine. With fewer than two informative directions the missing
    coordinates are 0. Cost: one product of the smaller of (D, D) and (N, N).

    Raises:
        ValueError: `values` is not (N, D), or holds NaN or infinity.
    """
    if values.ndim != 2:
        raise ValueError(f"embedding_map: values are {values.shape}; needed is (N, D)")
    if not np.isfinite(values).all():
        raise ValueError("embedding_map: values hold NaN or infinity")
    if values.size == 0:
        return np.zeros((len(values), 2))
    centred = values.astype(np.float64)
    centred -= centred.mean(axis=0)
    points = np.zeros((len(values), 2))
    loadings = _loadings(centred)
    points[:, : loadings.shape[1]] = centred @ loadings
    return points


def _loadings(centred: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the leading (D, <= 2) unit directions from the SVD of the smaller Gram matrix."""
    records, features = centred.shape
    if features <= records:
        _, spectrum, rows = np.linalg.svd(centred.T @ centred, hermitian=True)
        directions = rows[:2].T
    else:
        left, spectrum, _ = np.linalg.svd(centred @ centred.T, hermitian=True)
        directions = centred.T @ left[:, :2]
        directions /= np.maximum(np.linalg.norm(directions, axis=0), np.finfo(float).tiny)
    informative = spectrum[:2] > spectrum[0] * max(centred.shape) * np.finfo(float).eps
    directions = directions[:, informative]
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(directions.shape[1])])
    return np.asarray(directions * signs)
