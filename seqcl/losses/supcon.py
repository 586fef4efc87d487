"""SupCon (Khosla et al. 2020, arXiv 2004.11362, equation 2: the sum outside the logarithm)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from seqcl.losses.base import Known, PairLoss, check_temperature, check_views, temperature_of
from seqcl.losses.codes import apart, check_codes, dense, joined
from seqcl.losses.gathered import gather_views
from seqcl.losses.nt_xent import nt_xent
from seqcl.losses.two_views import TwoViews

__all__ = ["SupCon", "supcon"]


def supcon(
    a: Tensor,
    b: Tensor,
    temperature: float | Tensor,
    *,
    labels: Tensor | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return NT-Xent whose positives are all other rows of the anchor's class.

    With z the 2N unit rows of `a` and `b`, s_ij = z_i . z_j / temperature and P(i) the other rows
    of i's class: ``mean_i(log(sum_{j != i} exp s_ij) - mean_{p in P(i)} s_ip)``. The positives
    enter by sums over classes, so no mask of all pairs is held.

    Args:
        a: (N, D) projections of one view, of any scale; N at least 2.
        b: (N, D) projections of the other view, rows in the same order.
        temperature: above 0; a scalar tensor gets its gradient.
        labels: (N,) class codes; a record below 0 is unknown and has its other view alone as
            positive. None = all unknown, which equals `nt_xent`.
        anchors: the records that count as anchors, all by default.
    """
    check_views("supcon", a, b)
    check_temperature("supcon", temperature)
    if labels is None:
        return nt_xent(a, b, temperature, anchors=anchors)
    check_codes("supcon", "labels", labels, len(a))
    views = TwoViews.of(a, b, temperature, None, anchors)
    return views.lse(positive=True).mean() - _attraction(views, labels).mean()


def _attraction(views: TwoViews, labels: Tensor) -> Tensor:
    """Return the mean score of each anchor with its positives: (2R,)."""
    codes, z = dense(apart(labels)), views.z
    both, own = codes.repeat(2), codes[views.own].repeat(2)
    sums = z.new_zeros(len(codes), z.shape[1]).index_add(0, both, z)
    sizes = z.new_zeros(len(codes)).index_add(0, both, z.new_ones(()).expand(len(both)))
    rows = torch.cat(views.rows())  # (2R, D)
    return (rows * (sums[own] - rows)).sum(1) / (sizes[own] - 1)


@dataclass(frozen=True, kw_only=True)
class SupCon(PairLoss):
    """Supervised contrastive loss over the batch of all processes."""

    temperature: Annotated[float, Gt(0)] = 0.1

    @property
    def needs(self) -> frozenset[str]:
        """Labels; records without one take part as in `nt_xent`."""
        return frozenset({"labels"})

    @property
    def together(self) -> frozenset[str]:
        """Labels."""
        return self.needs

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
        a, b, known, own = gather_views("supcon", a, b, known)
        temperature = temperature_of(self.temperature, known)
        return supcon(a, b, temperature, labels=joined(known.labels, known.records), anchors=own)
