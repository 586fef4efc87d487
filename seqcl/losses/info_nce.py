"""InfoNCE (van den Oord et al. 2018, arXiv 1807.03748, equation 4): one view against the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from seqcl.losses.base import Known, check_temperature, check_views, temperature_of
from seqcl.losses.exclusion import ExcludingLoss, Exclusion, rules_of
from seqcl.losses.gathered import gather_views
from seqcl.losses.pairs import Pairs, Rule, Unsampled
from seqcl.losses.similarity import cross_lse, unit_rows

__all__ = ["InfoNCE", "info_nce"]


def info_nce(
    a: Tensor,
    b: Tensor,
    temperature: float | Tensor,
    *,
    symmetric: bool = True,
    candidates: int | None = None,
    exclusion: Exclusion | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return the mean of -log softmax of each anchor's positive among the rows of the other view.

    With unit rows and s_ij = a_i . b_j / temperature: ``mean_i(log(sum_j exp s_ij) - s_ii)``, and,
    where `symmetric`, the mean of that and the same with `a` and `b` exchanged, as in CLIP.
    `nt_xent` has the anchor's own view among the negatives too. All rows equal give log(N).

    Args:
        a: (N, D) projections of one view, of any scale; N at least 2.
        b: (N, D) projections of the other view, rows in the same order.
        temperature: above 0; a scalar tensor gets its gradient.
        symmetric: take anchors from `b` too.
        candidates: rows in each softmax: the positive, and negatives drawn without replacement by
            torch's generator of the device; None = all N. This is the cross-entropy over sampled
            candidates: each anchor chooses among so many rows, as in a batch of that size, while
            the products are still those of the whole batch.
        exclusion: records that are no negatives of each other.
        anchors: the rows that count as anchors, all by default.
    """
    check_views("info_nce", a, b)
    check_temperature("info_nce", temperature)
    if candidates is not None and candidates < 2:
        raise ValueError(f"info_nce: candidates is {candidates}; at least 2 are needed")
    za, zb = (unit_rows(x, temperature**-0.5) for x in (a, b))
    own = slice(0, len(a)) if anchors is None else anchors
    ways = ((za, zb), (zb, za)) if symmetric else ((za, zb),)
    lse = torch.stack([_lse(x, y, own, candidates, exclusion) for x, y in ways])
    return lse.mean() - (za[own] * zb[own]).sum(1).mean()


def _lse(
    x: Tensor, y: Tensor, own: slice, candidates: int | None, exclusion: Exclusion | None
) -> Tensor:
    first, _, _ = own.indices(len(x))
    rules = rules_of(exclusion, own, 1, x[own], y)
    if candidates is not None and candidates < len(y):
        rules = (*rules, _draw(len(y), candidates, first, x.device))
    return cross_lse(x[own], y, Pairs((), (first,), rules))


def _draw(n: int, candidates: int, first: int, device: torch.device) -> Rule:
    """Draw which records, counted from the anchor's on, are its candidates.

    All anchors take the same ways, so each of them has its own uniform draw without replacement
    and every column is the candidate of equally many anchors.
    """
    ways = torch.randperm(n - 1, device=device)[: candidates - 1] + 1
    return Unsampled(torch.zeros(n, dtype=torch.bool, device=device).scatter_(0, ways, True), first)


@dataclass(frozen=True, kw_only=True)
class InfoNCE(ExcludingLoss):
    """InfoNCE of each view against the other, over the batch of all processes."""

    temperature: Annotated[float, Gt(0)] = 0.1
    symmetric: bool = True
    """Take anchors from both views; False: from the first alone."""
    candidates: Annotated[int, Ge(2)] | None = None
    """Rows in each softmax: the positive and randomly drawn negatives; None = the whole batch."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
        a, b, known, own = gather_views("info_nce", a, b, known)
        return info_nce(
            a,
            b,
            temperature_of(self.temperature, known),
            symmetric=self.symmetric,
            candidates=self.candidates,
            exclusion=self.exclusion(known),
            anchors=own,
        )
