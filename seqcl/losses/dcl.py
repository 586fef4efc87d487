"""Decoupled contrastive loss (Yeh et al. 2022, arXiv 2110.06848, equations 6 and 7)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt
from torch import Tensor

from seqcl.losses.base import Known, check_temperature, check_views, temperature_of
from seqcl.losses.exclusion import ExcludingLoss, Exclusion
from seqcl.losses.gathered import gather_views
from seqcl.losses.similarity import unit_rows
from seqcl.losses.two_views import TwoViews

__all__ = ["DCL", "dcl"]


def dcl(
    a: Tensor,
    b: Tensor,
    temperature: float | Tensor,
    *,
    sigma: float | None = None,
    exclusion: Exclusion | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return NT-Xent without the positive in the denominator.

    With p(i) the other view of i: ``mean_i(log(sum_{j != i, p(i)} exp s_ij) - w_i s_ip(i))``. An
    easy positive no longer shrinks the gradient of the negatives, so small batches learn faster.
    The loss may be negative; all rows equal give log(2N - 2).

    Args:
        a: (N, D) projections of one view, of any scale; N at least 2.
        b: (N, D) projections of the other view, rows in the same order.
        temperature: above 0; a scalar tensor gets its gradient.
        sigma: None = w_i is 1; else the von Mises-Fisher weights of DCLW,
            ``w_i = 2 - exp(cos_i / sigma) / mean_k exp(cos_k / sigma)``, constants to the gradient.
        exclusion: records that are no negatives of each other; an anchor without any negative
            contributes 0.
        anchors: the records that count as anchors, all by default.
    """
    check_views("dcl", a, b)
    check_temperature("dcl", temperature)
    views = TwoViews.of(a, b, temperature, exclusion, anchors)
    lse, positives = views.lse(positive=False), views.positives()
    if sigma is not None:
        positives = positives * _weights(views, sigma)
    return (lse - positives.repeat(2)).masked_fill(lse == -math.inf, 0).mean()


def _weights(views: TwoViews, sigma: float) -> Tensor:
    """Return w of the records that are anchors: (R,); its mean over the whole batch is 1."""
    a, b = unit_rows(views.z.detach()).chunk(2)
    shares = ((a * b).sum(1) / sigma).softmax(0) * len(a)
    return 2 - shares[views.own]


@dataclass(frozen=True, kw_only=True)
class DCL(ExcludingLoss):
    """Decoupled contrastive loss between two views, over the batch of all processes."""

    temperature: Annotated[float, Gt(0)] = 0.1
    weighted: bool = False
    """Weigh positives by how hard they are (DCLW)."""
    sigma: Annotated[float, Gt(0)] = 0.5
    """Width of the weights, in cosine; smaller weighs hard positives more. Used if `weighted`."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
        a, b, known, own = gather_views("dcl", a, b, known)
        return dcl(
            a,
            b,
            temperature_of(self.temperature, known),
            sigma=self.sigma if self.weighted else None,
            exclusion=self.exclusion(known),
            anchors=own,
        )
