"""Row log-sum-exps of a similarity matrix, by tiles that never hold it whole.

Most contrastive losses are row statistics of ``s_ij = x_i . x_j``, where the rows of x (M, D) are
unit vectors times ``temperature ** -0.5``. Two forms give ``lse_i = log(sum_{j != i} exp s_ij)``:

- `self_lse` uses the symmetry: tiles (i, j) of the upper triangle give the row sums r_i and, by
  columns, r_j. With g = dL/dlse, w = g / r and E = exp(s) the backward is
  ``G_ij = E_ij (w_i + w_j)``, ``dx_i += G_ij x_j``, ``dx_j += G_ij^T x_i``: 4 M^2 D flop where a
  full matrix needs 6. It needs no maximum where ``|s| <= bound`` cannot overflow.
- `cross_lse` takes any anchors against any columns with a running maximum, so it bears learnt
  scales, tiny temperatures and anchors that are a part of the batch, for 8 M^2 D flop.

Both save only x and one number per row (small batches keep their tiles), and neither waits for
the device. Exponentials are taken to base 2: on a CPU that is four times faster than base e.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["cross_lse", "self_lse", "unit_rows"]

_LOG2_E = 1 / math.log(2)
_LN_2 = math.log(2)
_ONEDNN = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
_KEEP_ROWS = 2048
"""Up to here the tiles of the forward are kept (at most 10 MB); above they are computed again."""


def unit_rows(x: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Return the rows of `x` (M, D) with norm `scale`, at least in float32.

    A zero row stays zero and gets a zero gradient. A tensor `scale` gets its gradient.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    scaled: Tensor = x * (scale / norm.masked_fill(norm < 1e-12, math.inf))
    return scaled


def self_lse(x: Tensor, bound: float | None = None) -> Tensor:
    """Return ``log(sum_{j != i} exp(x_i . x_j))`` for every row of `x` (M, D): (M,).

    Args:
        x: at least two rows, float32 or float64.
        bound: what no ``|x_i . x_j|`` exceeds, 1 / temperature for unit rows; None where it is
            not known on the host. Above 44 (float32) the running maximum is used.
    """
    if len(x) < 2:
        raise ValueError(f"self_lse: x has {len(x)} rows; at least 2 are needed")
    if bound is None or bound > 0.5 * math.log(torch.finfo(x.dtype).max):
        return cross_lse(x, x, 0)
    lse: Tensor = _SelfLse.apply(x)  # type: ignore[no-untyped-call]
    return lse


def cross_lse(anchors: Tensor, columns: Tensor, first: int) -> Tensor:
    """Return ``log(sum_{j != first + i} exp(anchors_i . columns_j))``: (R,).

    Args:
        anchors: (R, D).
        columns: (M, D), at least two rows.
        first: the column that is anchor 0 itself; anchor i is column ``first + i``.
    """
    lse: Tensor = _CrossLse.apply(anchors, columns, first)  # type: ignore[no-untyped-call]
    return lse


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b.T``; oneDNN's float32 product is twice as fast as MKL's on an AMD CPU."""
    if a.device.type == "cpu" and a.dtype == torch.float32 and _ONEDNN:
        product: Tensor = nn.functional.linear(a.to_mkldnn(), b).to_dense()
        return product
    return a @ b.T


def _blocks(x: Tensor) -> Iterator[slice]:
    """Cut rows into blocks: 512 keep a tile in a core's cache, 4,096 keep a GPU busy."""
    size = 512 if x.device.type == "cpu" else 4096
    for start in range(0, len(x), size):
        yield slice(start, min(start + size, len(x)))


def _tile(a: Tensor, b: Tensor, rows: slice, columns: slice, first: int = 0) -> Tensor:
    """Return ``a_i . b_j / ln 2`` for one tile, -inf where a pair does not count.

    This is the one place that says which pairs count: so far, all but an anchor with itself.
    """
    tile = _product(a[rows] * _LOG2_E, b[columns])
    tile.diagonal(first + rows.start - columns.start).fill_(-math.inf)
    return tile


def _full_precision(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)


def _refuse_second_derivative() -> None:
    """Raise in a backward under create_graph, whose result would be taken for a constant."""
    if torch.is_grad_enabled():
        raise RuntimeError("self_lse and cross_lse have no second derivative; use their first")


class _SelfLse(torch.autograd.Function):
    """The symmetric form."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        keep = ctx.needs_input_grad[0] and len(x) <= _KEEP_ROWS
        sums = x.new_zeros(len(x))
        kept = x.new_empty(len(x), len(x)) if keep else None
        with _full_precision(x):
            for rows, columns in _upper_triangle(x):
                tile = _tile(x, x, rows, columns)
                tile = torch.exp2(tile, out=tile if kept is None else kept[rows, columns])
                sums[rows] += tile.sum(1)
                if rows != columns:
                    sums[columns] += tile.sum(0)
        ctx.save_for_backward(x, sums, kept)
        return sums.log()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        _refuse_second_derivative()
        x, sums, kept = ctx.saved_tensors
        weights, out = grad / sums, torch.zeros_like(x)
        with _full_precision(x):
            for rows, columns in _upper_triangle(x):
                tile = _tile(x, x, rows, columns).exp2_() if kept is None else kept[rows, columns]
                pull = (weights[rows, None] + weights[columns]).mul_(tile)
                out[rows] += _product(pull, x[columns].T)
                if rows != columns:
                    out[columns] += _product(pull.T, x[rows].T)
        return out


def _upper_triangle(x: Tensor) -> Iterator[tuple[slice, slice]]:
    blocks = tuple(_blocks(x))
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            yield rows, columns


class _CrossLse(torch.autograd.Function):
    """The general form: a running maximum over the tiles of a row."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, columns: Tensor, first: int) -> Tensor:
        lse = anchors.new_empty(len(anchors))
        with _full_precision(anchors):
            for rows in _blocks(anchors):
                top = torch.full_like(lse[rows], torch.finfo(lse.dtype).min)
                total = torch.zeros_like(top)
                for part in _blocks(columns):
                    tile = _tile(anchors, columns, rows, part, first)
                    before, top = top, torch.maximum(top, tile.amax(1))
                    total *= (before - top).exp2_()
                    total += tile.sub_(top[:, None]).exp2_().sum(1)
                lse[rows] = top + total.log2_()
        ctx.first = first
        ctx.save_for_backward(anchors, columns, lse)
        return lse * _LN_2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        _refuse_second_derivative()
        anchors, columns, lse = ctx.saved_tensors
        to_anchors, to_columns = torch.zeros_like(anchors), torch.zeros_like(columns)
        with _full_precision(anchors):
            for rows in _blocks(anchors):
                for part in _blocks(columns):
                    tile = _tile(anchors, columns, rows, part, ctx.first)
                    pull = tile.sub_(lse[rows, None]).exp2_().mul_(grad[rows, None])
                    to_anchors[rows] += _product(pull, columns[part].T)
                    to_columns[part] += _product(pull.T, anchors[rows].T)
        return to_anchors, to_columns, None
