"""Triplet loss (Schroff et al. 2015, arXiv 1503.03832; Hermans et al. 2017, arXiv 1703.07737)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor
from torch.nn.functional import softplus

from seqcl.distributed import all_reduce_sum, world_size
from seqcl.losses.base import Known, check_views, refuse_temperature
from seqcl.losses.gathered import gather_views
from seqcl.losses.mining import against_one, hardest, ranked
from seqcl.losses.pair_sums import pair_sum
from seqcl.losses.pairs import Pairs
from seqcl.losses.positives import Anchors, PositivesLoss, anchors_of
from seqcl.losses.self_sums import self_sum
from seqcl.losses.similarity import unit_rows

__all__ = ["Triplet", "triplet"]

Mining = Literal["all", "hard", "semi_hard"]


def triplet(
    a: Tensor,
    b: Tensor,
    *,
    margin: float = 0.2,
    mining: Mining = "semi_hard",
    soft: bool = False,
    labels: Tensor | None = None,
    anchors: slice | None = None,
) -> Tensor:
    """Return the mean of ``max(0, margin + s_in - s_ip)`` over triplets, s the cosine.

    An anchor i (each of the 2N rows) is to be closer to its positives p than to its negatives n.
    With unit rows a margin of m here is one of 2m in the squared Euclidean distance of the first
    paper. No triplet that counts gives 0.

    Args:
        a: (N, D) projections of one view, of any scale; N at least 2.
        b: (N, D) projections of the other view, rows in the same order.
        margin: in cosine, above 0.
        mining: semi_hard: the mean over all triplets with ``0 < s_ip - s_in < margin``;
            all: over all triplets that cost something ("batch all" without its zeros);
            hard: over the anchors, each with its farthest positive and its nearest negative
            ("batch hard"), those that cost nothing included.
        soft: ``log(1 + exp(s_in - s_ip))`` in place of the hinge; with hard mining only.
        labels: (N,) class codes, below 0 = unknown; rows of a class are positives, all others
            negatives. None = the other view is the positive, all other records are negatives.
        anchors: the records that count as anchors, all by default. A process of several passes
            its own: its sum is divided by the number of triplets per process, so that the mean
            over processes is that of all triplets.
    """
    check_views("triplet", a, b)
    _check(mining, soft)
    z = unit_rows(torch.cat([a, b]))
    parts = anchors_of("triplet", z, labels, anchors)
    if mining != "hard" and labels is None and anchors is None:
        sums = [_views(z, margin, semi_hard=mining == "semi_hard")]
    elif mining == "hard":
        sums = [_hardest(part, z, margin, soft=soft) for part in parts]
    else:
        sums = [_every(part, z, margin, semi_hard=mining == "semi_hard") for part in parts]
    total, count = (torch.stack(terms).sum() for terms in zip(*sums, strict=True))
    return total / (all_reduce_sum(count).clamp(min=1) / world_size())


def _check(mining: Mining, soft: bool) -> None:
    if soft and mining != "hard":
        raise ValueError(
            f"triplet: soft has no margin by which to choose {mining} triplets; "
            "set mining to hard, or leave soft out"
        )


def _views(z: Tensor, margin: float, *, semi_hard: bool) -> tuple[Tensor, Tensor]:
    """Return the sum over the triplets of all rows against their other view, and their number."""
    n = len(z) // 2
    positives = (z[:n] * z[n:]).sum(1).repeat(2)
    counts = against_one(margin, semi_hard=semi_hard)
    pushed, triplets = self_sum(z, positives.detach(), Pairs((0, n, -n)), counts)
    return pushed - (triplets * (positives - margin)).sum(), triplets.sum()


def _every(anchors: Anchors, z: Tensor, margin: float, *, semi_hard: bool) -> tuple[Tensor, Tensor]:
    """Return the sum over the triplets of the anchors of one view, and their number."""
    if anchors.own is None or anchors.codes is None:
        others = z[anchors.other : anchors.other + len(anchors.rows)]
        positives = (anchors.rows * others).sum(1)
        count = against_one(margin, semi_hard=semi_hard)
        pushed, triplets = pair_sum(
            anchors.rows,
            z,
            anchors.negatives,
            lambda tile, rows: (None, count(tile, positives.detach()[rows, None])),
        )
        return pushed - (triplets * (positives - margin)).sum(), triplets.sum()
    found = z.new_zeros(())
    terms = ranked(anchors.own, anchors.codes, anchors.first, margin, found, semi_hard=semi_hard)
    total, _ = pair_sum(anchors.rows, z, Pairs((anchors.first,)), terms, whole_rows=True)
    return total + margin * found, found


def _hardest(anchors: Anchors, z: Tensor, margin: float, *, soft: bool) -> tuple[Tensor, Tensor]:
    """Return the sum over the anchors of one view that have a negative, and their number."""
    place, there = hardest(anchors.rows, z, anchors.negatives)
    nearest = (anchors.rows * z[place]).sum(1)
    if anchors.own is None:
        others = z[anchors.other : anchors.other + len(anchors.rows)]
    else:
        farthest, _ = hardest(-anchors.rows, z, anchors.positives)
        others = z[farthest]
    excess = nearest - (anchors.rows * others).sum(1)
    cost = softplus(excess) if soft else (margin + excess).relu()
    return torch.where(there, cost, 0).sum(), there.sum().to(z.dtype)


@dataclass(frozen=True, kw_only=True)
class Triplet(PositivesLoss):
    """Triplet loss with mining, over the batch of all processes."""

    margin: Annotated[float, Gt(0)] = 0.2
    """By how much, in cosine, a positive is to be nearer than a negative."""
    mining: Mining = "semi_hard"
    """Which triplets count: all that cost something, the hardest of each anchor, or all whose
    negative is farther than the positive by less than the margin."""
    soft: bool = False
    """log(1 + exp) in place of the hinge; with hard mining."""

    def __post_init__(self) -> None:
        _check(self.mining, self.soft)

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the triplets of `a` and `b`, both (B, D)."""
        refuse_temperature("triplet", known)
        a, b, known, own = gather_views("triplet", a, b, known)
        return triplet(
            a,
            b,
            margin=self.margin,
            mining=self.mining,
            soft=self.soft,
            labels=self.labels(known),
            anchors=own,
        )
