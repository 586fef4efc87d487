"""Row log-sum-exps of a similarity matrix, by tiles that never hold it whole.

Most contrastive losses are row statistics of ``s_ij = x_i . x_j``, where the rows of x (M, D) are
unit vectors times ``temperature ** -0.5``. Two forms give ``lse_i = log(sum_j exp s_ij)`` over the
pairs that count (`Pairs`), minus infinity where none does:

- `self_lse` uses the symmetry: tiles (i, j) of the upper triangle give the row sums r_i and, by
  columns, r_j. With g = dL/dlse, w = g / r and E = exp(s) the backward is
  ``G_ij = E_ij (w_i + w_j)``, ``dx_i += G_ij x_j``, ``dx_j += G_ij^T x_i``: 4 M^2 D flop where a
  full matrix needs 6. It needs no maximum where ``|s| <= bound`` cannot overflow.
- `cross_lse` takes any anchors against any columns with a running maximum, so it bears learnt
  scales, tiny temperatures and anchors that are a part of the batch, for 8 M^2 D flop.

Both save only x and one number per row (small batches keep their tiles), and neither waits for
the device. Exponentials are taken to base 2: on a CPU that is four times faster than base e. On a
CUDA device both are Triton kernels instead (`seqcl.losses.triton_lse`).
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from seqcl.losses.kernel_choice import triton_kernel
from seqcl.losses.pairs import Pairs
from seqcl.losses.tiles import (
    blocks,
    full_precision,
    product,
    product_of_columns,
    refuse_second_derivative,
    upper_triangle,
)

__all__ = ["cross_lse", "pair_counts", "self_lse", "unit_rows"]

_LOG2_E = 1 / math.log(2)
_LN_2 = math.log(2)
_KEEP_ROWS = 2048
"""Up to here the tiles of the forward are kept (at most 10 MB); above they are computed again."""
_OTHERS = Pairs()


def unit_rows(x: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Return the rows of `x` (M, D) with norm `scale`, at least in float32.

    A zero row stays zero and gets a zero gradient; one whose norm overflows becomes NaN, not a
    zero row that a loss would take. A tensor `scale` gets its gradient.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    divisor = norm.masked_fill(norm.isinf(), math.nan).masked_fill(norm < 1e-12, math.inf)
    scaled: Tensor = x * (scale / divisor)
    return scaled


def self_lse(x: Tensor, bound: float | None = None, pairs: Pairs = _OTHERS) -> Tensor:
    """Return ``log(sum_j exp(x_i . x_j))`` over the pairs that count, of every row of `x`: (M,).

    Args:
        x: (M, D), at least two rows, float32 or float64.
        bound: what no ``|x_i . x_j|`` exceeds, 1 / temperature for unit rows; None where it is
            not known on the host. Above 44 (float32) the running maximum is used.
        pairs: which count, as often (i, j) as (j, i); by default all others.
    """
    if len(x) < 2:
        raise ValueError(f"self_lse: x has {len(x)} rows; at least 2 are needed")
    bounded = bound is not None and bound <= 0.5 * math.log(torch.finfo(x.dtype).max)
    if (found := triton_kernel(x, pairs)) is not None:
        kernel, flat = found
        return cast(Tensor, kernel.self_lse(x, flat, bounded=bounded))
    if not bounded:
        return cross_lse(x, x, pairs)
    lse: Tensor = _SelfLse.apply(x.contiguous(), pairs)  # type: ignore[no-untyped-call]
    return lse


def cross_lse(anchors: Tensor, columns: Tensor, pairs: Pairs) -> Tensor:
    """Return ``log(sum_j exp(anchors_i . columns_j))`` over the pairs that count: (R,).

    Args:
        anchors: (R, D).
        columns: (M, D).
        pairs: which count.
    """
    if (found := triton_kernel(anchors, pairs)) is not None:
        kernel, flat = found
        return cast(Tensor, kernel.cross_lse(anchors, columns, flat))
    lse: Tensor = _CrossLse.apply(  # type: ignore[no-untyped-call]
        anchors.contiguous(), columns.contiguous(), pairs
    )
    return lse


@torch.no_grad()
def pair_counts(anchors: Tensor, columns: Tensor, pairs: Pairs) -> Tensor:
    """Return how many pairs of each anchor count: (R,), in the dtype of `anchors`."""
    counts = anchors.new_zeros(len(anchors))
    with full_precision(anchors):
        for rows in blocks(anchors):
            for part in blocks(columns):
                tile = _tile(anchors, columns, rows, part, pairs)
                counts[rows] += (tile != -math.inf).sum(1)
    return counts


def _tile(a: Tensor, b: Tensor, rows: slice, columns: slice, pairs: Pairs) -> Tensor:
    """Return ``a_i . b_j / ln 2`` for one tile, -inf where a pair does not count."""
    tile = product(a[rows] * _LOG2_E, b[columns])
    hidden = pairs.hidden(tile, rows, columns, _LOG2_E)
    return pairs.fill_(tile, hidden, rows, columns, -math.inf)


class _SelfLse(torch.autograd.Function):
    """The symmetric form."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pairs: Pairs) -> Tensor:
        keep = ctx.needs_input_grad[0] and len(x) <= _KEEP_ROWS
        sums = x.new_zeros(len(x))
        kept = x.new_empty(len(x), len(x)) if keep else None
        with full_precision(x):
            for rows, columns in upper_triangle(x):
                tile = _tile(x, x, rows, columns, pairs)
                tile = torch.exp2(tile, out=tile if kept is None else kept[rows, columns])
                sums[rows] += tile.sum(1)
                if rows != columns:
                    sums[columns] += tile.sum(0)
        ctx.pairs = pairs
        ctx.save_for_backward(x, sums, kept)
        return sums.log()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        refuse_second_derivative()
        x, sums, kept = ctx.saved_tensors
        # A row without pairs has no gradient: its sum is 0.
        weights, out = grad / sums.masked_fill(sums == 0, math.inf), torch.zeros_like(x)
        with full_precision(x):
            for rows, columns in upper_triangle(x):
                tile = (
                    _tile(x, x, rows, columns, ctx.pairs).exp2_()
                    if kept is None
                    else kept[rows, columns]
                )
                pull = (weights[rows, None] + weights[columns]).mul_(tile)
                out[rows] += product(pull, x[columns].T)
                if rows != columns:
                    out[columns] += product_of_columns(pull, x[rows])
        return out, None


class _CrossLse(torch.autograd.Function):
    """The general form: a running maximum over the tiles of a row."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, columns: Tensor, pairs: Pairs) -> Tensor:
        lse = anchors.new_empty(len(anchors))
        with full_precision(anchors):
            for rows in blocks(anchors):
                top = torch.full_like(lse[rows], torch.finfo(lse.dtype).min)
                total = torch.zeros_like(top)
                for part in blocks(columns):
                    tile = _tile(anchors, columns, rows, part, pairs)
                    before, top = top, torch.maximum(top, tile.amax(1))
                    total *= (before - top).exp2_()
                    total += tile.sub_(top[:, None]).exp2_().sum(1)
                lse[rows] = top + total.log2_()
        ctx.pairs = pairs
        ctx.save_for_backward(anchors, columns, lse)
        return lse * _LN_2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        refuse_second_derivative()
        anchors, columns, lse = ctx.saved_tensors
        lse = lse.masked_fill(lse == -math.inf, math.inf)  # a row without pairs has no gradient
        to_anchors = torch.zeros_like(anchors)
        to_columns = torch.zeros_like(columns) if ctx.needs_input_grad[1] else None  # not a queue
        with full_precision(anchors):
            for rows in blocks(anchors):
                for part in blocks(columns):
                    tile = _tile(anchors, columns, rows, part, ctx.pairs)
                    pull = tile.sub_(lse[rows, None]).exp2_().mul_(grad[rows, None])
                    to_anchors[rows] += product(pull, columns[part].T)
                    if to_columns is not None:
                        to_columns[part] += product_of_columns(pull, anchors[rows])
        return to_anchors, to_columns, None
