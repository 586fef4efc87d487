"""The loss of Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230, equations 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from seqcl.distributed import gather_with_grad
from seqcl.losses.base import Known, PairLoss, refuse_temperature
from seqcl.losses.moments import checked, diagonal_and_rest, products

__all__ = ["BarlowTwins", "barlow_twins"]

_VARIANCE_FLOOR = 1e-5
"""Added to each variance, as batch norm does: a constant feature is correlated to nothing."""


def barlow_twins(a: Tensor, b: Tensor, off_diagonal: float) -> Tensor:
    """Return how far the cross-correlation of two views is from the identity.

    With C_ij the correlation, over the records, of feature i of one view with feature j of the
    other: ``sum_i (1 - C_ii)**2 + off_diagonal * sum_{i != j} C_ij**2``. Lower is better; all rows
    equal give D.

    Args:
        a: (N, D) projections of one view; N at least 2 (ValueError).
        b: (N, D) projections of the other view, rows in the same order.
        off_diagonal: lambda, what features pay for telling the same.
    """
    a, b = checked("barlow_twins", a, b)
    correlation = products(_standard(a), _standard(b)) / len(a)
    diagonal, rest = diagonal_and_rest(correlation)
    return (1 - diagonal).square().sum() + off_diagonal * rest.square().sum()


def _standard(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred * (centred.square().mean(0) + _VARIANCE_FLOOR).rsqrt()


@dataclass(frozen=True, kw_only=True)
class BarlowTwins(PairLoss):
    """Barlow Twins' loss, its correlation taken over the records of all processes."""

    off_diagonal: Annotated[float, Ge(0)] = 0.005
    """Lambda: the weight of the correlations between different features."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the loss of `a` and `b`, both (B, D)."""
        refuse_temperature("barlow_twins", known)
        return barlow_twins(gather_with_grad(a), gather_with_grad(b), self.off_diagonal)
