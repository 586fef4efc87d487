"""Weighted log-sum-exps of one large group of rows, by the upper triangle of its similarities.

With P_ij = w_i exp(s_ij - lse_i) the gradient is ``dx = (P + P^T) x``, one product where autograd
takes two. Half the similarities are computed, so that is 3 M^2 D flop instead of 6; a maximum of
each row bears dot products of any size. Exponentials are taken to base 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["scaled_products", "tiled_lse"]

_LOG2_E = 1 / math.log(2)
_KEEP_ROWS = 8192
"""Up to here the tiles of a group are kept (at most 150 MB); above they are computed again."""


def scaled_products(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``a_i . b_j / ln 2`` in `dtype` for (..., A, D) and (..., M, D)."""
    return (a @ b.transpose(-1, -2)).to(dtype).mul_(_LOG2_E)


def tiled_lse(
    x: Tensor, weights: Tensor, off: Tensor | None, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Return ``sum_i w_i log2(sum_{j != i} exp(x_i . x_j))`` and, if wanted, its gradient by x.

    Args:
        x: (M, D).
        weights: (M,), at least 0.
        off: (M,) 0 where a row counts, -inf where it does not; None = all count.
        wanted: whether to take the gradient, (M, D) in the dtype of `weights`, over ln 2.
    """
    keep = wanted and len(x) <= _KEEP_ROWS
    kept: dict[tuple[int, int], Tensor] = {}
    top = torch.full_like(weights, torch.finfo(weights.dtype).min)
    sums = torch.zeros_like(top)
    for rows, columns in _upper_triangle(x):
        tile = _tile(x, off, rows, columns, weights.dtype)
        _accumulate(top[rows], sums[rows], tile, 1)
        if rows != columns:
            _accumulate(top[columns], sums[columns], tile, 0)
        if keep:
            kept[rows.start, columns.start] = tile
    lse = torch.where(sums == 0, 0.0, top + sums.log2())  # 0 for a row without any other
    value = (weights * lse).sum()
    return value, _gradient(x, lse - weights.log2(), off, kept) if wanted else None


def _gradient(
    x: Tensor, shift: Tensor, off: Tensor | None, kept: dict[tuple[int, int], Tensor]
) -> Tensor:
    """Return (P + P^T) x; with the weight inside the shift, P is one exponential."""
    grad = torch.zeros_like(x, dtype=shift.dtype)
    for rows, columns in _upper_triangle(x):
        tile = kept.pop((rows.start, columns.start), None)
        if tile is None:
            tile = _tile(x, off, rows, columns, shift.dtype)
        pull = (tile - shift[columns]).exp2_()
        pull = pull.add_(tile.sub_(shift[rows, None]).exp2_()).to(x.dtype)
        grad[rows] += pull @ x[columns]
        if rows != columns:
            grad[columns] += pull.T @ x[rows]
    return grad


def _accumulate(top: Tensor, sums: Tensor, tile: Tensor, dim: int) -> None:
    """Add a tile to running maxima and sums, in place."""
    higher = torch.maximum(top, tile.amax(dim))
    sums.mul_(top.sub_(higher).exp2_())
    sums.add_((tile - higher.unsqueeze(dim)).exp2_().sum(dim))
    top.copy_(higher)


def _tile(x: Tensor, off: Tensor | None, rows: slice, columns: slice, dtype: torch.dtype) -> Tensor:
    tile = scaled_products(x[rows], x[columns], dtype)
    if off is not None:
        tile += off[columns]
        tile += off[rows, None]
    if rows == columns:
        tile.diagonal().fill_(-math.inf)
    return tile


def _upper_triangle(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Cut the rows into blocks: 256 or 512 stay in a core's cache, 4,096 keep a GPU busy."""
    size = 4096 if x.device.type != "cpu" else 256 if len(x) <= 2048 else 512
    bounds = [*range(0, len(x), size), len(x)]
    blocks = [slice(start, stop) for start, stop in pairwise(bounds)]
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            yield rows, columns
