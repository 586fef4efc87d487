"""N-pair loss (Sohn 2016, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective").

Equation 7 with the regulariser of its section 3.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from seqcl.losses.base import Known, check_views, refuse_temperature
from seqcl.losses.exclusion import ExcludingLoss, Exclusion, rules_of
from seqcl.losses.gathered import gather_views
from seqcl.losses.pairs import Pairs
from seqcl.losses.similarity import cross_lse

__all__ = ["NPair", "n_pair"]


def n_pair(
    a: Tensor,
    b: Tensor,
    *,
    l2: float = 0.002,
    exclusion: Exclusion | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return the softmax loss of plain products, with a price on the length of rows.

    ``mean_i log(1 + sum_{j != i} exp(a_i . b_j - a_i . b_i)) + l2 mean_i (|a_i|^2 + |b_i|^2) / 2``.
    Rows are not normalised: their length is the temperature that the encoder learns, and `l2`
    holds it. `info_nce` one-sided is the same with unit rows.

    Args:
        a: (N, D) anchors; N at least 2.
        b: (N, D) their positives, rows in the same order.
        l2: weight of the mean squared length, at least 0.
        exclusion: records that are no negatives of each other; an anchor without any negative
            contributes its length alone.
        anchors: the rows of `a` that count as anchors, all by default.
    """
    check_views("n_pair", a, b)
    a, b = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (a, b))
    own = slice(0, len(a)) if anchors is None else anchors
    first, _, _ = own.indices(len(a))
    rows, positives = a[own], b[own]
    pairs = Pairs((), (first,), rules_of(exclusion, own, 1, rows, b))
    contrast = cross_lse(rows, b, pairs) - (rows * positives).sum(1)
    lengths = (rows.square() + positives.square()).sum(1) / 2
    return contrast.mean() + l2 * lengths.mean()


@dataclass(frozen=True, kw_only=True)
class NPair(ExcludingLoss):
    """N-pair loss of the first view against the second, over the batch of all processes."""

    l2: Annotated[float, Ge(0)] = 0.002
    """Weight of the mean squared length of the projections."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a`, (B, D), against `b`."""
        refuse_temperature("n_pair", known)
        a, b, known, own = gather_views("n_pair", a, b, known)
        return n_pair(a, b, l2=self.l2, exclusion=self.exclusion(known), anchors=own)
