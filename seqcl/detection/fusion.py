"""Fusion: several scores on one scale, weighted by what they are worth on anomalies of our own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

__all__ = ["balanced_weights"]

Floats = npt.NDArray[np.float64]

_RANGE = (-3.0, 6.0)
"""Deviations beyond which a score says no more to the regression."""


def balanced_weights(
    scores: Floats, labels: npt.NDArray[np.bool_], *, ridge: float = 0.5
) -> Floats:
    """Return weights (K,), none below 0, of scores (N, K) that tell labels (N,) apart best.

    A logistic regression in which both classes weigh alike, with a ridge on the weights; equal
    weights where it finds none, or where a class is empty.
    """
    count = scores.shape[1]
    equal = np.full(count, 1 / count)
    if not 0 < labels.sum() < len(labels):
        return equal
    z = np.clip(scores, *_RANGE)
    y = labels.astype(np.float64)
    share = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())

    def objective(point: Floats) -> tuple[float, Floats]:
        weights, offset = point[:count], point[count]
        logits = z @ weights + offset
        loss = share @ (np.logaddexp(0, logits) - y * logits) + ridge * weights @ weights
        slope = share * (1 / (1 + np.exp(-logits)) - y)
        return float(loss), np.append(z.T @ slope + 2 * ridge * weights, slope.sum())

    bounds: list[Any] = [(0, None)] * count + [(None, None)]
    found = minimize(objective, np.append(equal, 0.0), jac=True, bounds=bounds, method="L-BFGS-B")
    weights = np.asarray(found.x[:count])
    return weights / weights.sum() if weights.sum() > 0 else equal
