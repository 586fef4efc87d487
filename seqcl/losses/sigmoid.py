"""Sigmoid loss (SigLIP: Zhai et al. 2023, arXiv 2303.15343): logistic regression over all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt
from torch import Tensor
from torch.nn.functional import softplus

from seqcl.losses.base import Known, check_temperature, check_views, temperature_of
from seqcl.losses.exclusion import ExcludingLoss, Exclusion, rules_of
from seqcl.losses.gathered import gather_views
from seqcl.losses.pair_sums import pair_sum
from seqcl.losses.pairs import Pairs
from seqcl.losses.similarity import unit_rows

__all__ = ["Sigmoid", "sigmoid"]


def sigmoid(
    a: Tensor,
    b: Tensor,
    temperature: float | Tensor,
    *,
    bias: float = -10.0,
    exclusion: Exclusion | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return the binary cross-entropy of "do these rows belong together", summed per anchor.

    With unit rows, x_ij = a_i . b_j / temperature + bias and y_ij = 1 for i = j, else -1:
    ``1 / N sum_ij log(1 + exp(-y_ij x_ij))``. It is not normalised over the batch: each pair is a
    decision of its own, and only pairs across the two views count. All rows equal, at bias 0 and
    a temperature far above 1, give N log 2.

    Args:
        a: (N, D) projections of one view, of any scale; N at least 2.
        b: (N, D) projections of the other view, rows in the same order.
        temperature: above 0; a scalar tensor gets its gradient.
        bias: added to every score; about -10 where 1 pair in thousands is a positive.
        exclusion: records that are no negatives of each other.
        anchors: the rows of `a` that count as anchors, all by default.
    """
    check_views("sigmoid", a, b)
    check_temperature("sigmoid", temperature)
    own = slice(0, len(a)) if anchors is None else anchors
    first, _, _ = own.indices(len(a))
    za, zb = (unit_rows(x, temperature**-0.5) for x in (a, b))
    rows = za[own]
    pairs = Pairs((first,), (), rules_of(exclusion, own, 1, rows, zb))

    def terms(tile: Tensor, _: slice) -> tuple[Tensor, Tensor]:
        tile += bias
        return softplus(tile), tile.sigmoid_()

    apart, _ = pair_sum(rows, zb, pairs, terms)
    together = softplus(-(rows * zb[own]).sum(1) - bias).sum()
    return (apart + together) / len(rows)


@dataclass(frozen=True, kw_only=True)
class Sigmoid(ExcludingLoss):
    """Sigmoid loss of all pairs across two views, over the batch of all processes."""

    temperature: Annotated[float, Gt(0)] = 0.1
    bias: float = -10.0
    """Added to every score; about minus the logarithm of the negatives per positive, or below."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a`, (B, D), against `b`."""
        a, b, known, own = gather_views("sigmoid", a, b, known)
        return sigmoid(
            a,
            b,
            temperature_of(self.temperature, known),
            bias=self.bias,
            exclusion=self.exclusion(known),
            anchors=own,
        )
