"""Sums over the triplets of rows that have one positive each, by the symmetric tiles.

As `pair_sum`, but of all rows against themselves: a tile (i, j) of the upper triangle holds the
scores of row i's triplets and of row j's. With C_ij = 1 where triplet (i, p(i), j) counts the
gradient of ``sum_ij C_ij s_ij`` is ``dx_i = sum_j (C_ij + C_ji) x_j``: 3 M^2 D flop instead of 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqcl.losses.pairs import Pairs
from seqcl.losses.tiles import (
    full_precision,
    product,
    product_of_columns,
    refuse_second_derivative,
    upper_triangle,
)

__all__ = ["Counts", "self_sum"]

Counts = Callable[[Tensor, Tensor], Tensor]
"""From the scores of a tile and the positive score of each row, (R, 1), or column, (C,), to 1
where a triplet counts, else 0."""


def self_sum(x: Tensor, positives: Tensor, pairs: Pairs, counts: Counts) -> tuple[Tensor, Tensor]:
    """Return the sum of ``x_i . x_j`` over the triplets that count, and how many each row has.

    Args:
        x: (M, D).
        positives: (M,) score of each row with its positive; gets no gradient.
        pairs: which (i, j) count, as often as (j, i).
        counts: of one tile.

    Returns:
        A scalar with its gradient, and (M,) numbers of triplets without one.
    """
    total, triplets = _SelfSum.apply(x.contiguous(), positives, pairs, counts)  # type: ignore[no-untyped-call]
    return total, triplets


class _SelfSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, positives: Tensor, pairs: Pairs, counts: Counts
    ) -> tuple[Tensor, Tensor]:
        triplets, out = x.new_zeros(len(x)), torch.zeros_like(x)
        with full_precision(x):
            for rows, columns in upper_triangle(x):
                tile = product(x[rows], x[columns])
                hidden = pairs.hidden(tile, rows, columns)
                of_rows = pairs.fill_(
                    counts(tile, positives[rows, None]), hidden, rows, columns, 0.0
                )
                triplets[rows] += of_rows.sum(1)
                if rows != columns:
                    of_columns = pairs.fill_(
                        counts(tile, positives[columns]), hidden, rows, columns, 0.0
                    )
                    triplets[columns] += of_columns.sum(0)
                    of_rows += of_columns
                out[rows] += product(of_rows, x[columns].T)
                out[columns] += product_of_columns(of_rows, x[rows])
        ctx.save_for_backward(out)
        ctx.mark_non_differentiable(triplets)
        return (out * x).sum() / 2, triplets  # each triplet is in two rows of `out`

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        refuse_second_derivative()
        (out,) = ctx.saved_tensors
        return grad * out, None, None, None
