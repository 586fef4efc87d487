"""Contrastive loss with a margin (Hadsell, Chopra and LeCun 2006, CVPR, equation 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from seqcl.losses.base import Known, check_views, refuse_temperature
from seqcl.losses.gathered import gather_views
from seqcl.losses.pair_sums import Terms, pair_sum
from seqcl.losses.positives import Anchors, PositivesLoss, anchors_of
from seqcl.losses.similarity import unit_rows

__all__ = ["Margin", "margin_loss"]

Metric = Literal["euclidean", "cosine"]


def margin_loss(
    a: Tensor,
    b: Tensor,
    *,
    margin: float = 1.0,
    metric: Metric = "euclidean",
    labels: Tensor | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return half the squared distance of positives plus half the squared lack of negatives.

    For an anchor i: ``mean_p d_ip^2 / 2 + mean_n max(0, margin - d_in)^2 / 2``, and the mean of
    that over the 2N anchors. The two means weigh alike, as in a set with as many alike as
    different pairs; else the many negatives of a batch would drown its few positives.

    Args:
        a: (N, D) projections of one view; N at least 2.
        b: (N, D) projections of the other view, rows in the same order.
        margin: distance from which on a negative is far enough, in the unit of the metric.
        metric: euclidean, of rows of any length as in the paper; or cosine, 1 - cos, 0 to 2.
        labels: (N,) class codes, below 0 = unknown; rows of a class are positives, all others
            negatives. None = the other view is the positive, all other records are negatives.
        anchors: the records that count as anchors, all by default.
    """
    check_views("margin", a, b)
    z = torch.cat([a, b]).to(torch.promote_types(a.dtype, torch.float32))
    # Distances stay without the mean, and their squares keep the digits that it would take.
    z = unit_rows(z) if metric == "cosine" else z - z.detach().mean(0)
    parts = [_half(part, z, margin, metric) for part in anchors_of("margin", z, labels, anchors)]
    return torch.stack(parts).mean()


def _half(anchors: Anchors, z: Tensor, margin: float, metric: Metric) -> Tensor:
    """Return the mean over the anchors of one view."""
    positives, negatives = anchors.counts()
    left, right = (anchors.rows, z) if metric == "cosine" else _squared(anchors.rows, z)
    apart = _cosine_apart if metric == "cosine" else _euclidean_apart
    pushed, _ = pair_sum(left, right, anchors.negatives, apart(_inverse(negatives), margin))
    if anchors.own is None:
        pulled = _pull(anchors, z, metric)
    else:
        together = _cosine_together if metric == "cosine" else _euclidean_together
        pulled, _ = pair_sum(left, right, anchors.positives, together(_inverse(positives)))
    return (pulled + pushed) / (2 * len(anchors.rows))


def _inverse(counts: Tensor) -> Tensor:
    return 1 / counts.masked_fill(counts == 0, torch.inf)


def _pull(anchors: Anchors, z: Tensor, metric: Metric) -> Tensor:
    others = z[anchors.other : anchors.other + len(anchors.rows)]
    if metric == "cosine":
        return (1 - (anchors.rows * others).sum(1)).square().sum()
    return (anchors.rows - others).square().sum()


def _squared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows whose products are the squared distances of the rows of `x` and `y`."""
    return (
        torch.cat([-2 * x, x.square().sum(1, keepdim=True), torch.ones_like(x[:, :1])], 1),
        torch.cat([y, torch.ones_like(y[:, :1]), y.square().sum(1, keepdim=True)], 1),
    )


def _cosine_apart(weights: Tensor, margin: float) -> Terms:
    def terms(tile: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        lack = tile.add_(margin - 1).relu_()  # margin - (1 - cos)
        slope = lack * (2 * weights[rows, None])
        return lack.mul_(slope).mul_(0.5), slope

    return terms


def _euclidean_apart(weights: Tensor, margin: float) -> Terms:
    def terms(tile: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        # Rounding leaves no digit of a squared distance below this; such rows count as one.
        least = torch.finfo(tile.dtype).eps
        same = tile < least
        distance = tile.clamp_(min=least).sqrt_()
        lack = (margin - distance).relu_()
        slope = (lack / distance).mul_(-weights[rows, None]).masked_fill_(same, 0)
        return lack.square_().mul_(weights[rows, None]), slope

    return terms


def _cosine_together(weights: Tensor) -> Terms:
    def terms(tile: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        distance = 1 - tile
        slope = distance * (-2 * weights[rows, None])
        return distance.mul_(slope).mul_(-0.5), slope

    return terms


def _euclidean_together(weights: Tensor) -> Terms:
    def terms(tile: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        slope = weights[rows, None].expand_as(tile).clone()
        return tile.mul_(slope), slope

    return terms


@dataclass(frozen=True, kw_only=True)
class Margin(PositivesLoss):
    """Contrastive loss with a margin, over the batch of all processes."""

    margin: Annotated[float, Gt(0)] = 1.0
    """Distance from which on a negative is far enough, in the unit of `metric`."""
    metric: Metric = "euclidean"
    """euclidean: of the projections as they are; cosine: 1 - cos, 0 to 2."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
        refuse_temperature("margin", known)
        a, b, known, own = gather_views("margin", a, b, known)
        labels = self.labels(known)
        return margin_loss(a, b, margin=self.margin, metric=self.metric, labels=labels, anchors=own)
