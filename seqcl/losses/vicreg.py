"""The loss of VICReg (Bardes et al. 2022, arXiv 2105.04906, equations 1 to 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from seqcl.distributed import gather_with_grad
from seqcl.losses.base import Known, PairLoss, refuse_temperature
from seqcl.losses.moments import checked, diagonal_and_rest, products

__all__ = ["VICReg", "vicreg"]

_VARIANCE_FLOOR = 1e-4
"""The paper's epsilon: without it a constant feature has no gradient to leave by."""


def vicreg(
    a: Tensor, b: Tensor, *, invariance: float = 25, variance: float = 25, covariance: float = 1
) -> Tensor:
    """Return the weighted sum of invariance, variance and covariance (equation 6).

    Invariance is the mean over records of the squared distance of the views, divided by D as the
    authors' code does. Variance is the mean over features of ``max(0, 1 - std)``, covariance
    ``sum_{i != j} Cov_ij**2 / D``, each summed over both views. Lower is better; all rows of both
    views equal give ``2 * variance * 0.99``.

    Args:
        a: (N, D) projections of one view; N at least 2 (ValueError).
        b: (N, D) projections of the other view, rows in the same order.
        invariance, variance, covariance: weights lambda, mu and nu.
    """
    a, b = checked("vicreg", a, b)
    terms = [spread_terms(x) for x in (a, b)]
    low, linked = (torch.stack(term).sum() for term in zip(*terms, strict=True))
    return invariance * (a - b).square().mean() + variance * low + covariance * linked


def spread_terms(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what variance (equation 1) and covariance (equation 4) of (N, D) cost."""
    centred = x - x.mean(0)
    diagonal, rest = diagonal_and_rest(products(centred, centred) / (len(x) - 1))
    deviation = (diagonal + _VARIANCE_FLOOR).sqrt()
    return (1 - deviation).clamp(min=0).mean(), rest.square().sum() / x.shape[1]


@dataclass(frozen=True, kw_only=True)
class VICReg(PairLoss):
    """VICReg's loss, its moments taken over the records of all processes."""

    invariance: Annotated[float, Ge(0)] = 25.0
    """Lambda: of the distance between the views of a record."""
    variance: Annotated[float, Ge(0)] = 25.0
    """Mu: of features whose standard deviation is below 1."""
    covariance: Annotated[float, Ge(0)] = 1.0
    """Nu: of features that vary together."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the loss of `a` and `b`, both (B, D)."""
        refuse_temperature("vicreg", known)
        return vicreg(
            gather_with_grad(a),
            gather_with_grad(b),
            invariance=self.invariance,
            variance=self.variance,
            covariance=self.covariance,
        )
