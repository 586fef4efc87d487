"""Weighted sums of log-sum-exps inside many groups of rows, with their gradient in one pass.

TS2Vec contrasts rows inside groups: all steps of a record, all records of a step. The weight of
each log-sum-exp is known beforehand, so the gradient is taken while a group's similarities are
still there, and only one chunk of groups at a time needs memory. Nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from seqcl.losses.group_tiles import scaled_products, tiled_lse

__all__ = ["weighted_lse"]

_LN_2 = math.log(2)
_SMALL = 512
"""Up to so many rows, groups are computed whole, several at a time."""


def weighted_lse(
    x: Tensor,
    weights: Tensor,
    real: Tensor | None = None,
    anchors: Tensor | None = None,
    grad: Tensor | None = None,
) -> Tensor:
    """Return ``sum w_gr log(sum_{(u, q) != (v, r)} exp(x_gvr . x_guq))`` over g, v and r.

    A part of a loss's own backward: autograd does not see it. Products of bfloat16 rows are
    taken, and rounded, in bfloat16; all else in float32. An anchor without any other row adds 0.

    Args:
        x: (G, V, R, D), the V * R rows of each group; 0 where `real` is False.
        weights: (G, R), or (G, A) with `anchors`; float32 or float64, at least 0, and 0 where
            `real` is False.
        real: (G, R) True = counts among the other rows of an anchor; None = all.
        anchors: (A,) the rows r whose terms are summed; None = all R.
        grad: shaped as x; the gradient by x is added to it.
    """
    views, size = x.shape[1:3]
    places = None if anchors is None else _in_all_views(anchors, views, size)
    total = weights.new_zeros(())
    for part in _chunks(x, places):
        rows = x[part].flatten(1, 2)  # (g, V * R, D)
        off = None if real is None else _off(real[part], weights).repeat(1, views)
        own = weights[part].repeat(1, views)
        value, pull = _group(rows, own, off, places, grad is not None)
        total += value
        if grad is not None and pull is not None:
            grad[part] += pull.view(-1, views, size, pull.shape[2])
    return total * _LN_2


def _in_all_views(anchors: Tensor, views: int, size: int) -> Tensor:
    first = torch.arange(views, device=anchors.device) * size
    return (first.unsqueeze(1) + anchors).flatten()


def _off(real: Tensor, weights: Tensor) -> Tensor:
    """Return what is added to a column: 0 where it is real, -inf where it is not."""
    return torch.zeros_like(real, dtype=weights.dtype).masked_fill(~real, -math.inf)


def _chunks(x: Tensor, places: Tensor | None) -> Iterator[slice]:
    """Cut the groups so that the similarities of a chunk stay near a core's cache."""
    rows = x.shape[1] * x.shape[2]
    budget = _SMALL * _SMALL if x.device.type == "cpu" else 64 * _SMALL * _SMALL
    step = max(1, budget // (rows * (rows if places is None else len(places))))
    for start in range(0, len(x), step):
        yield slice(start, start + step)


def _group(
    x: Tensor, weights: Tensor, off: Tensor | None, places: Tensor | None, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the sum over the groups of a chunk, base 2, and its gradient by x (g, M, D)."""
    if places is not None:
        return _sampled(x, weights, off, places, wanted)
    if x.shape[1] <= _SMALL:
        return _whole(x, weights, off, wanted)
    value, grad = tiled_lse(x[0], weights[0], None if off is None else off[0], wanted)
    return value, None if grad is None else grad.unsqueeze(0)


def _softmax(products: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-sum-exps (..., A), base 2, and the softmax, in the place of `products`."""
    top = products.amax(-1, keepdim=True).clamp_(min=torch.finfo(products.dtype).min)
    shares = products.sub_(top).exp2_()
    sums = shares.sum(-1, keepdim=True)
    lse = torch.where(sums == 0, 0.0, top + sums.log2())
    return lse.squeeze(-1), shares.div_(sums.masked_fill_(sums == 0, 1.0))


def _whole(
    x: Tensor, weights: Tensor, off: Tensor | None, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    products = scaled_products(x, x, weights.dtype)
    if off is not None:
        products += off.unsqueeze(1)
    products.diagonal(dim1=1, dim2=2).fill_(-math.inf)
    lse, shares = _softmax(products)
    value = (weights * lse).sum()
    if not wanted:
        return value, None
    pull = shares.mul_(weights.unsqueeze(2))
    return value, (pull + pull.transpose(1, 2)).to(x.dtype) @ x


def _sampled(
    x: Tensor, weights: Tensor, off: Tensor | None, places: Tensor, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    value, grad = weights.new_zeros(()), torch.zeros_like(x, dtype=weights.dtype)
    size = max(1, 4 * _SMALL * _SMALL // x.shape[1])
    for at, weight in zip(torch.split(places, size), torch.split(weights, size, 1), strict=True):
        own = x.index_select(1, at)
        products = scaled_products(own, x, weights.dtype)
        if off is not None:
            products += off.unsqueeze(1)
        products.scatter_(2, at.view(1, -1, 1).expand(len(x), -1, 1), -math.inf)
        lse, shares = _softmax(products)
        value += (weight * lse).sum()
        if wanted:
            pull = shares.mul_(weight.unsqueeze(2)).to(x.dtype)
            grad += pull.transpose(1, 2) @ own
            grad.index_add_(1, at, (pull @ x).to(grad.dtype))
    return value, grad if wanted else None
