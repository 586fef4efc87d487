"""Softmax contrast inside groups of rows, with hard or soft positives, and its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from seqcl.losses.group_lse import weighted_lse

__all__ = ["contrast"]


def contrast(
    x: Tensor,
    real: Tensor | None,
    share: Tensor,
    weights: Tensor | None = None,
    drawn: Tensor | None = None,
    grad: Tensor | None = None,
) -> Tensor:
    """Return ``share sum_i sum_{j != i} w_ij (lse_i - x_i . x_j)`` over anchors i of all groups.

    lse_i is ``log sum_{j != i} exp(x_i . x_j)`` over the rows of both views in i's group. Autograd
    does not see it. Soft weights cost one product of their own: the sum over j of w_ij lse_i is a
    number times lse_i, that of w_ij x_i . x_j is ``x_i . (w (x_0 + x_1))_i`` without i itself.

    Args:
        x: (G, 2, R, D), R rows in two views; 0 where `real` is False.
        real: (G, R) True = counts; None = all.
        share: scalar, at least 0.
        weights: (R, R) in the dtype of `share`, between the rows of either view, symmetric, with
            diagonal 1, the positive; None = the identity: the positive alone.
        drawn: (A,) rows r that are anchors; None = all.
        grad: shaped as x, in the dtype of `share`; the gradient by x is added to it.
    """
    total = torch.zeros_like(share)
    # A few groups at a time: what is made for them stays in the cache.
    step = max(1, 2**20 // x[0].numel())
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        total += _of_some(
            x[part],
            None if real is None else real[part],
            share,
            weights,
            drawn,
            None if grad is None else grad[part],
        )
    return total


def _of_some(
    x: Tensor,
    real: Tensor | None,
    share: Tensor,
    weights: Tensor | None,
    drawn: Tensor | None,
    grad: Tensor | None,
) -> Tensor:
    mass = torch.ones_like(x[:, 0, :, 0], dtype=share.dtype) if real is None else real.to(share)
    if weights is not None:
        mass = mass * (2 * (mass @ weights) - 1)  # both views, but not itself
    if drawn is not None:
        mass = mass.index_select(1, drawn)
    value = weighted_lse(x, share * mass, real, drawn, grad)
    own = (x if drawn is None else x.index_select(2, drawn)).to(share.dtype)
    if weights is None:
        value -= 2 * share * (own[:, 0] * own[:, 1]).sum()
        pull = None if grad is None else (own * (-2 * share)).unbind(1)[::-1]
    else:
        both, near = own.sum(1), weights if drawn is None else weights.index_select(0, drawn)
        spread = near @ x.sum(1, dtype=share.dtype)  # (G, A, D)
        value -= share * ((both * spread).sum() - own.square().sum())
        pull = torch.sub(spread.unsqueeze(1), own, alpha=2).mul_(-share).unbind(1)
        if grad is not None:
            grad.sub_((share * (near.T @ both)).unsqueeze(1))
    if grad is not None and pull is not None:
        for view, add in enumerate(pull):
            grad[:, view].add_(add) if drawn is None else grad[:, view].index_add_(1, drawn, add)
    return value
