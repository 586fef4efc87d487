"""Cosine regression: a prediction of one view's projection by the other's, with no negatives."""

from __future__ import annotations

from torch import Tensor

from seqcl.losses.base import check_views
from seqcl.losses.similarity import unit_rows

__all__ = ["cosine"]


def cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean cosine of corresponding rows, -1 to 1; no gradient reaches `target`.

    A zero row counts as 0 and gets no gradient. ``-cosine`` is the loss of SimSiam (arXiv
    2011.10566, equation 1), ``2 - 2 * cosine`` that of BYOL (arXiv 2006.07733, equation 2).

    Args:
        predicted: (N, D), of any scale.
        target: (N, D).
    """
    check_views("cosine", predicted, target, least=1)
    return (unit_rows(predicted) * unit_rows(target.detach())).sum(1).mean()
