"""Ridge regression with its penalty chosen by exact leave-one-out error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Ridge", "fit_ridge", "one_vs_rest"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ridge:
    """A fitted map ``features @ weights + bias``."""

    weights: Floats
    """(D, K)."""
    bias: Floats
    """(K,)."""
    penalty: float
    """The alpha that was chosen."""
    error: float
    """Its mean squared leave-one-out error over records and targets."""


def one_vs_rest(codes: npt.NDArray[np.int64], n_classes: int) -> Floats:
    """Return targets (N, K): +1 at the class of each record, -1 elsewhere."""
    return np.where(codes[:, None] == np.arange(n_classes), 1.0, -1.0)


def fit_ridge(features: Floats, targets: Floats, penalties: Sequence[float]) -> Ridge:
    """Fit `features` (N, D) to `targets` (N, K) with an intercept that is not penalised.

    The leave-one-out residual is exact, the residual over one minus the leverage, from one
    eigendecomposition of the smaller of (N, N) and (D, D); of penalties with equal error the
    largest wins. Cost: N D min(N, D) + min(N, D)^3.
    """
    mean, offset = features.mean(0), targets.mean(0)
    fit = _Path(*_left_basis(features - mean), targets - offset)
    largest_first = sorted(penalties, reverse=True)
    errors = [fit.held_out_error(penalty) for penalty in largest_first]
    best = int(np.argmin(errors))
    weights = (features - mean).T @ fit.dual(largest_first[best])
    return Ridge(weights, offset - mean @ weights, largest_first[best], errors[best])


class _Path:
    """The fits of one set for every penalty, in the basis of its left singular vectors."""

    def __init__(self, basis: Floats, spectrum: Floats, targets: Floats) -> None:
        self.basis, self.spectrum = basis, spectrum
        self.projected = basis.T @ targets
        self.outside = targets - basis @ self.projected
        self.slack = np.maximum(1 - 1 / len(basis) - (basis**2).sum(1), 0.0)

    def held_out_error(self, penalty: float) -> float:
        """Return the mean squared error of each record under the fit to all the others."""
        shrunk = penalty / (self.spectrum + penalty)  # sums of small parts: nothing cancels
        residual = self.outside + self.basis @ (shrunk[:, None] * self.projected)
        freedom = self.slack + self.basis**2 @ shrunk
        return float(np.mean((residual / np.maximum(freedom, 1e-15)[:, None]) ** 2))

    def dual(self, penalty: float) -> Floats:
        """Return the weight of each record, (N, K)."""
        return self.basis @ (self.projected / (self.spectrum + penalty)[:, None])


def _left_basis(centred: Floats) -> tuple[Floats, Floats]:
    """Return left singular vectors (N, r) and squared singular values (r,), zeros dropped."""
    records, size = centred.shape
    if records <= size:
        spectrum, basis = np.linalg.eigh(centred @ centred.T)
        kept = spectrum > 1e-12 * max(spectrum[-1], 1e-300)
        return basis[:, kept], spectrum[kept]
    spectrum, directions = np.linalg.eigh(centred.T @ centred)
    kept = spectrum > 1e-12 * max(spectrum[-1], 1e-300)
    spectrum = spectrum[kept]
    return centred @ (directions[:, kept] / np.sqrt(spectrum)), spectrum
