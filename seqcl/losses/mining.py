"""Which triplets count: the terms and the searches of the triplet loss.

A triplet (i, p, n) costs ``max(0, margin + s_in - s_ip)``, s the cosine. It is *semi-hard* where
the negative is farther than the positive but within the margin: ``s_ip - margin < s_in < s_ip``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqcl.losses.pair_sums import Terms
from seqcl.losses.pairs import Pairs
from seqcl.losses.self_sums import Counts
from seqcl.losses.tiles import blocks, full_precision, product

__all__ = ["against_one", "hardest", "ranked"]


def against_one(margin: float, *, semi_hard: bool) -> Counts:
    """Return which triplets of rows with one positive each count: 1 or 0."""

    def counts(tile: Tensor, positives: Tensor) -> Tensor:
        # Comparisons into floats: on a CPU four times faster than into booleans.
        within = torch.gt(tile, positives - margin, out=torch.empty_like(tile))
        if semi_hard:
            within.mul_(torch.lt(tile, positives, out=torch.empty_like(tile)))
        return within

    return counts


def ranked(
    own: Tensor, codes: Tensor, first: int, margin: float, count: Tensor, *, semi_hard: bool
) -> Terms:
    """Return the slopes of anchors (R,) with any number of positives among columns (M,).

    A negative of score s costs something with the positives of score below s + margin (and above
    s, for semi-hard ones). Once the positives of an anchor are sorted these are a stretch of
    them, so M log M steps an anchor do for its P (M - P) triplets. Needs tiles of whole rows;
    `margin` times the number of triplets is left to the caller.

    Args:
        own: (R,) class codes of the anchors.
        codes: (M,) class codes of the columns.
        first: the column that is anchor 0.
        margin: above 0.
        count: scalar to which the number of triplets is added.
        semi_hard: count these alone; else all that cost something.
    """

    def terms(tile: Tensor, rows: slice) -> tuple[None, Tensor]:
        alike = own[rows, None] == codes
        no_positive = ~alike
        no_positive.diagonal(first + rows.start).fill_(True)
        scores, order = tile.masked_fill(no_positive, math.inf).sort(1)
        stop = torch.searchsorted(scores, tile + margin).masked_fill_(alike, 0)
        start = torch.zeros_like(stop)
        if semi_hard:
            start = torch.searchsorted(scores, tile, right=True).masked_fill_(alike, 0)
        triplets = (stop - start).to(tile.dtype)
        count.add_(triplets.sum())
        # Each negative adds one to the stretch start..stop of the sorted positives.
        ends = tile.new_zeros(len(tile), tile.shape[1] + 1)
        ends.scatter_add_(1, start, torch.ones_like(tile))
        ends.scatter_add_(1, stop, -torch.ones_like(tile))
        pulls = torch.empty_like(tile).scatter_(1, order, ends.cumsum(1)[:, :-1])
        return None, triplets - pulls

    return terms


@torch.no_grad()
def hardest(anchors: Tensor, columns: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return the column of the largest score of each anchor, and whether it has any: two (R,)."""
    best, place = anchors.new_empty(len(anchors)), anchors.new_empty(len(anchors)).long()
    with full_precision(anchors):
        for rows in blocks(anchors):
            top = torch.full_like(best[rows], -math.inf)
            where = torch.zeros_like(place[rows])
            for part in blocks(columns):
                tile = product(anchors[rows], columns[part])
                pairs.fill_(tile, pairs.hidden(tile, rows, part), rows, part, -math.inf)
                score, column = tile.max(1)
                better = ~(score <= top)  # a broken score is the largest, so that it shows
                top, where = (
                    torch.where(better, score, top),
                    torch.where(better, column + part.start, where),
                )
            best[rows], place[rows] = top, where
    return place, best != -math.inf
