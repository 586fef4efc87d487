"""Contrastive loss with hard negatives (Robinson et al. 2021, arXiv 2010.04592, equation 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from seqcl.losses.base import Known, check_temperature, check_views, temperature_of
from seqcl.losses.debiased import against_corrected
from seqcl.losses.exclusion import ExcludingLoss, Exclusion
from seqcl.losses.gathered import gather_views
from seqcl.losses.two_views import TwoViews

__all__ = ["HardNegative", "hard_negative"]


def hard_negative(
    a: Tensor,
    b: Tensor,
    temperature: float | Tensor,
    *,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    exclusion: Exclusion | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return `debiased` with each negative weighted by exp(beta s_ij), mean weight 1.

    The sum over the K negatives becomes ``K sum_j exp((1 + beta) s_ij) / sum_j exp(beta s_ij)``:
    two log-sum-exps. ``beta = 0`` equals `debiased`. The weights are part of the gradient, as in
    the authors' code.

    Args:
        a: (N, D) projections of one view, of any scale; N at least 2.
        b: (N, D) projections of the other view, rows in the same order.
        temperature: above 0; a scalar tensor gets its gradient.
        beta: concentration on hard negatives, at least 0.
        tau_plus: chance that a random record has the anchor's class, 0 to below 1.
        exclusion: records that are no negatives of each other; an anchor without any negative
            contributes 0.
        anchors: the records that count as anchors, all by default.
    """
    check_views("hard_negative", a, b)
    check_temperature("hard_negative", temperature)
    views = TwoViews.of(a, b, temperature, exclusion, anchors)
    hard = views.lse(positive=False, power=1 + beta)
    if beta > 0:
        count = views.negatives()
        log_count = count.log() if isinstance(count, Tensor) else math.log(count)
        mean_weight = views.lse(positive=False, power=beta) - log_count
        hard = torch.where(hard == -math.inf, hard, hard - mean_weight)
    return against_corrected(hard, views, tau_plus).mean()


@dataclass(frozen=True, kw_only=True)
class HardNegative(ExcludingLoss):
    """Hard-negative contrastive loss between two views, over the batch of all processes."""

    temperature: Annotated[float, Gt(0)] = 0.5
    beta: Annotated[float, Ge(0)] = 1.0
    """Concentration on hard negatives; 0 = all alike."""
    tau_plus: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Chance that a random record has the anchor's class: about 1 / classes."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
        a, b, known, own = gather_views("hard_negative", a, b, known)
        return hard_negative(
            a,
            b,
            temperature_of(self.temperature, known),
            beta=self.beta,
            tau_plus=self.tau_plus,
            exclusion=self.exclusion(known),
            anchors=own,
        )
