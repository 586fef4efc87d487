"""Debiased contrastive loss (Chuang et al. 2020, arXiv 2007.00224, equations 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from seqcl.losses.base import Known, check_temperature, check_views, temperature_of
from seqcl.losses.exclusion import ExcludingLoss, Exclusion
from seqcl.losses.gathered import gather_views
from seqcl.losses.two_views import TwoViews

__all__ = ["Debiased", "against_corrected", "debiased"]


def debiased(
    a: Tensor,
    b: Tensor,
    temperature: float | Tensor,
    *,
    tau_plus: float = 0.1,
    exclusion: Exclusion | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return NT-Xent with its negatives corrected for those that share the anchor's class.

    With P = exp s_ip(i) and S the sum of exp s_ij over the K negatives:
    ``mean_i(log(P + G) - log P)``, ``G = max((S - K tau_plus P) / (1 - tau_plus), K e^(-1/T))``.
    The floor is the smallest sum that K negatives can have. ``tau_plus = 0`` equals `nt_xent`.

    Args:
        a: (N, D) projections of one view, of any scale; N at least 2.
        b: (N, D) projections of the other view, rows in the same order.
        temperature: above 0; a scalar tensor gets its gradient.
        tau_plus: chance that a random record has the anchor's class, 0 to below 1.
        exclusion: records that are no negatives of each other; an anchor without any negative
            contributes 0.
        anchors: the records that count as anchors, all by default.
    """
    check_views("debiased", a, b)
    check_temperature("debiased", temperature)
    views = TwoViews.of(a, b, temperature, exclusion, anchors)
    return against_corrected(views.lse(positive=False), views, tau_plus).mean()


def against_corrected(negatives: Tensor, views: TwoViews, tau_plus: float) -> Tensor:
    """Return each anchor's loss against its corrected negatives: (2R,).

    `negatives` (2R,) is the logarithm of their sum before the correction.
    """
    positives, count = views.positives().repeat(2), views.negatives()
    # In units of the larger term, which cancels, so that no exponential overflows.
    top = torch.maximum(negatives, positives).detach()
    positive, total = (positives - top).exp(), (negatives - top).exp()
    corrected = (total - tau_plus * count * positive) / (1 - tau_plus)
    floor = count * (-1 / views.temperature - top).exp()
    return (positive + torch.maximum(corrected, floor)).log() + top - positives


@dataclass(frozen=True, kw_only=True)
class Debiased(ExcludingLoss):
    """Debiased contrastive loss between two views, over the batch of all processes."""

    temperature: Annotated[float, Gt(0)] = 0.5
    tau_plus: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Chance that a random record has the anchor's class: about 1 / classes."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
        a, b, known, own = gather_views("debiased", a, b, known)
        return debiased(
            a,
            b,
            temperature_of(self.temperature, known),
            tau_plus=self.tau_plus,
            exclusion=self.exclusion(known),
            anchors=own,
        )
