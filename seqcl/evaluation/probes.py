"""Linear probes on frozen embeddings: ridge and logistic regression as one map to class scores."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from seqcl.metrics.ridge import fit_ridge, one_vs_rest

__all__ = ["LinearMap", "Scaling", "Solver", "fit_logistic", "fit_ridge_map", "rotation"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PENALTIES = tuple(np.logspace(-3, 3, 10).tolist())
"""Ridge penalties of MiniRocket's published classifier (Dempster et al. 2021)."""
MAX_ITERATIONS = 1000
_ROWS = 1024
_FLAT = 1e-7
"""Spread over mean below which a float32 dimension is constant up to rounding."""


@dataclass(frozen=True)
class Scaling:
    """What is taken from embeddings before a probe: a mean, and one factor or one a dimension."""

    mean: Floats
    """(E,)."""
    factor: Floats
    """(E,)."""

    @classmethod
    def fit(cls, values: npt.NDArray[np.float32], scaling: Literal["common", "each"]) -> Scaling:
        """Bring the mean variance ("common"), or each dimension's ("each"), of (N, E) to 1."""
        mean = values.mean(axis=0, dtype=np.float64)
        spread = values.std(axis=0, dtype=np.float64)
        if scaling == "common":
            spread = np.full_like(spread, np.sqrt(np.mean(spread**2)))
        else:
            spread[spread <= _FLAT * np.abs(mean)] = 0.0
        return cls(mean, 1 / np.where(spread > 0, spread, 1.0))

    def __call__(self, values: npt.NDArray[np.float32]) -> Floats:
        """Return `values` (N, E) scaled, in float64."""
        return (values - self.mean) * self.factor


@dataclass(frozen=True)
class LinearMap:
    """Scaled embeddings to one score a class."""

    weights: Floats
    """(E, K)."""
    bias: Floats
    """(K,)."""
    probabilities: bool
    """Whether the scores are log-odds, for a softmax."""

    def scores(self, values: npt.NDArray[np.float32], scaling: Scaling) -> Floats:
        """Return (N, K): probabilities of a logistic map, decision values of a ridge."""
        blocks = [
            scaling(values[first : first + _ROWS]) @ self.weights + self.bias
            for first in range(0, len(values), _ROWS)
        ]
        scores = np.concatenate(blocks)
        if not self.probabilities:
            return scores
        scores = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(scores / scores.sum(1, keepdims=True))


def rotation(scaled: Floats) -> Floats | None:
    """Return (E, N) onto the span of fewer records than dimensions; None where there are more.

    A probe with a squared-norm penalty gives the same predictions on ``scaled @ rotation`` as on
    `scaled` (N, E), since its weights lie in the span of the records.
    """
    if scaled.shape[1] <= scaled.shape[0]:
        return None
    spectrum, basis = np.linalg.eigh(scaled @ scaled.T)
    kept = spectrum > 1e-12 * max(float(spectrum[-1]), 1e-300)
    return np.asarray(scaled.T @ (basis[:, kept] / np.sqrt(spectrum[kept])))


def fit_ridge_map(scaled: Floats, codes: Codes, n_classes: int) -> tuple[LinearMap, float]:
    """Fit one-versus-rest ridge; returns the map and the penalty of least leave-one-out error."""
    fit = fit_ridge(scaled, one_vs_rest(codes, n_classes), PENALTIES)
    return LinearMap(fit.weights, fit.bias, probabilities=False), fit.penalty


class Solver:
    """Logistic regression on one set, over rising values of C, each started from the last."""

    def __init__(self, scaled: Floats, codes: Codes, tolerance: float = 1e-4) -> None:
        self.scaled, self.codes = scaled, codes
        self.model = LogisticRegression(tol=tolerance, max_iter=MAX_ITERATIONS, warm_start=True)

    def fit(self, c: float) -> LinearMap:
        """Fit with inverse penalty `c`; every class of 0..K-1 must have a record."""
        self.model.set_params(C=c)
        with warnings.catch_warnings():
            # `converged` says the same, and the report passes it on
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            self.model.fit(self.scaled, self.codes)
        weights, bias = self.model.coef_.T, self.model.intercept_
        if weights.shape[1] == 1:  # two classes: the log-odds of the second
            weights = np.hstack([np.zeros_like(weights), weights])
            bias = np.append(0.0, bias)
        return LinearMap(weights, bias, probabilities=True)

    @property
    def converged(self) -> bool:
        """Whether the last fit stopped by itself."""
        return int(self.model.n_iter_.max()) < MAX_ITERATIONS


def fit_logistic(scaled: Floats, codes: Codes, c: float) -> tuple[LinearMap, bool]:
    """Fit at one `c`; returns the map on `scaled` (N, E), and whether it converged."""
    onto = rotation(scaled)
    solver = Solver(scaled if onto is None else scaled @ onto, codes)
    fitted = solver.fit(c)
    weights = fitted.weights if onto is None else onto @ fitted.weights
    return LinearMap(weights, fitted.bias, probabilities=True), solver.converged
