"""Sums of a function of all scores that count, by tiles, with the gradient in the same pass.

For losses that add up one term a pair (hinge, logistic) the tile that gives the value gives the
slope too. So the forward takes both, 6 R M D flop, and the backward only multiplies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product as product_of
from typing import Any

import torch
from torch import Tensor

from seqcl.losses.pairs import Pairs
from seqcl.losses.tiles import (
    blocks,
    full_precision,
    product,
    product_of_columns,
    refuse_second_derivative,
)

__all__ = ["Terms", "pair_sum"]

Terms = Callable[[Tensor, slice], tuple[Tensor | None, Tensor]]
"""From the scores of a tile and its rows to the terms and their derivatives by the scores; None
in place of the terms where each is its derivative times the score."""


def pair_sum(
    anchors: Tensor, columns: Tensor, pairs: Pairs, terms: Terms, *, whole_rows: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the sum of the terms of all pairs that count, and the slopes of each anchor.

    Args:
        anchors: (R, D); scores are ``anchors_i . columns_j``.
        columns: (M, D).
        pairs: which count.
        terms: of one tile; it may write into the tile. What else it depends on gets no gradient.
        whole_rows: a tile spans all columns, so that terms may rank them.

    Returns:
        The sum, a scalar with its gradient to `anchors` and `columns`, and (R,) the sums of the
        derivatives over the columns, without one.
    """
    total, slopes = _PairSum.apply(  # type: ignore[no-untyped-call]
        anchors.contiguous(), columns.contiguous(), pairs, terms, whole_rows
    )
    return total, slopes


def _tiles(anchors: Tensor, columns: Tensor, whole_rows: bool) -> Iterator[tuple[slice, slice]]:
    if not whole_rows:
        yield from product_of(blocks(anchors), tuple(blocks(columns)))
        return
    (side, *_) = (part.stop for part in blocks(columns))
    size = max(1, side * side // len(columns))
    for start in range(0, len(anchors), size):
        yield slice(start, min(start + size, len(anchors))), slice(0, len(columns))


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, columns: Tensor, pairs: Pairs, terms: Terms, whole_rows: bool
    ) -> tuple[Tensor, Tensor]:
        total, slopes = anchors.new_zeros(()), anchors.new_zeros(len(anchors))
        to_anchors, to_columns = torch.zeros_like(anchors), torch.zeros_like(columns)
        with full_precision(anchors):
            for rows, part in _tiles(anchors, columns, whole_rows):
                tile = product(anchors[rows], columns[part])
                hidden = pairs.hidden(tile, rows, part)
                value, slope = terms(tile, rows)
                pairs.fill_(slope, hidden, rows, part, 0.0)
                pull = product(slope, columns[part].T)
                if value is None:
                    total += (pull * anchors[rows]).sum()
                else:
                    total += pairs.fill_(value, hidden, rows, part, 0.0).sum()
                slopes[rows] += slope.sum(1)
                to_anchors[rows] += pull
                to_columns[part] += product_of_columns(slope, anchors[rows])
        ctx.save_for_backward(to_anchors, to_columns)
        ctx.mark_non_differentiable(slopes)
        return total, slopes

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        refuse_second_derivative()
        to_anchors, to_columns = ctx.saved_tensors
        return grad * to_anchors, grad * to_columns, None, None, None
