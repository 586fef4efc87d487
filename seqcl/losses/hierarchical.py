"""The hierarchical loss of TS2Vec (Yue et al. 2022, arXiv 2106.10466, equations 1 to 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqcl.distributed import all_reduce_sum, world_size
from seqcl.losses.group_contrast import contrast
from seqcl.losses.soft import time_weights

__all__ = ["hierarchical"]

_SCALES = 64
"""More than there can be."""


def hierarchical(
    first: Tensor,
    second: Tensor,
    real: Tensor | None = None,
    *,
    instance: float = 0.5,
    anchors: int | None = None,
    records: Tensor | None = None,
    sharpness: float | None = None,
) -> Tensor:
    """Contrast records at each step, and steps in each record, over max-pooled scales.

    At every scale, rows r of both views, group by group: the mean over anchors of
    ``lse_{j != i}(r_i . r_j) - r_i . r_p(i)``, where p(i) is the same step of the same record in
    the other view. Groups are the records at one step (`instance`) and the steps of one record.
    Then neighbouring steps are max-pooled in pairs, an odd last one is dropped, down to one step,
    which has the instance term alone. Returned is the mean over scales; lower is better. All rows
    0 and one step give ``instance * log(2B - 1)``.

    Over several processes negatives are the own records', and means run over the anchors of all:
    averaged over processes, as DDP does, each real step counts alike, whoever holds it.

    It equals the authors' form, without its matrices: the memory is that of one record's
    similarities, whatever B. Where steps are masked, means run over the anchors that are real,
    others are in no sum, and a pooled step is real where one of its two is.

    Args:
        first, second: (B, N, D) features of the same N steps in two views. bfloat16 products are
            rounded to bfloat16.
        real: (B, N) True = a real step in both views; None = all.
        instance: weight of the instance term, 0 to 1; the temporal one has the rest.
        anchors: steps that are drawn at every scale, the same for all records, as anchors of the
            temporal term: an unbiased estimate. The instance term is cheap and stays exact.
            None = all steps, exact.
        records: (B, B) soft assignments of `soft.record_weights`; None = hard.
        sharpness: of soft assignments between steps, doubled from scale to scale as steps are
            twice as far apart; None = hard.
    """
    _check(first, second, real)
    dtype = torch.promote_types(first.dtype, torch.float32)
    records = None if records is None else records.to(dtype)
    terms = _Terms(instance, anchors, records, sharpness)
    x = torch.stack((first, second), 1)
    loss: Tensor = _Hierarchical.apply(x, real, terms)  # type: ignore[no-untyped-call]
    return loss / x.shape[2].bit_length()


def _check(first: Tensor, second: Tensor, real: Tensor | None) -> None:
    if first.dim() != 3 or first.shape != second.shape or 0 in first.shape:
        raise ValueError(
            f"hierarchical: first is {tuple(first.shape)} and second is {tuple(second.shape)}; "
            "both need the same (records, steps, features), at least 1 of each"
        )
    if real is not None and real.shape != first.shape[:2]:
        raise ValueError(
            f"hierarchical: real is {tuple(real.shape)}; it needs {tuple(first.shape[:2])}"
        )


@dataclass(frozen=True, slots=True)
class _Terms:
    """The options of `hierarchical`."""

    instance: float
    anchors: int | None
    records: Tensor | None
    sharpness: float | None


class _Hierarchical(torch.autograd.Function):
    """The sum over scales. Its gradient is taken on the way, while similarities are there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, real: Tensor | None, terms: _Terms) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            off = None if real is None else ~real[:, None, :, None]
            x = x if off is None else x.masked_fill(off, 0.0)
            counts = _counts(x, real)
            value, grad = _scales(x, real, terms, counts, 1, ctx.needs_input_grad[0])
            if grad is not None and off is not None:
                grad.masked_fill_(off, 0.0)
        ctx.save_for_backward(None if grad is None else grad.to(x.dtype))
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # under create_graph, which would take it for a constant
            raise RuntimeError("hierarchical has no second derivative; use its first")
        (grad,) = ctx.saved_tensors
        return grad * upstream, None, None


def _scales(
    x: Tensor, real: Tensor | None, terms: _Terms, counts: Tensor, width: int, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the loss of a scale and all coarser ones, and its gradient by x (B, 2, N, D).

    Args:
        x: 0 where `real` (B, N) is False.
        counts: anchors of this scale and of coarser ones, see `_counts`.
        width: steps of the finest scale in one of x.
    """
    # In float32: what attracts and what repels nearly cancel.
    precise = torch.promote_types(x.dtype, torch.float32)
    grad = torch.zeros_like(x, dtype=precise) if wanted else None
    value = _one_scale(x, real, terms, counts[0], width, grad)
    pairs = x.shape[2] // 2
    if pairs:
        even, odd = (_pooled_from(x, real, first, pairs) for first in (0, 1))
        coarse, either = torch.maximum(even, odd), None
        if real is not None:
            either = _either(real)
            coarse = coarse.masked_fill(~either[:, None, :, None], 0.0)
        more, pull = _scales(coarse, either, terms, counts[1:], 2 * width, wanted)
        value = value + more
        if grad is not None and pull is not None:
            _pull_back(grad[:, :, : 2 * pairs], pull, even, odd)
    return value, grad


def _pull_back(grad: Tensor, pull: Tensor, even: Tensor, odd: Tensor) -> None:
    """Add the gradient of pooled steps to the larger step of each pair."""
    size = max(1, 2**20 // pull[0].numel())  # what is made for a few records stays in the cache
    for start in range(0, len(pull), size):
        rows = slice(start, start + size)
        kept = pull[rows] * (even[rows] >= odd[rows])  # four times faster than torch.where
        grad[rows, :, 0::2] += kept
        grad[rows, :, 1::2] += pull[rows] - kept


def _pooled_from(x: Tensor, real: Tensor | None, first: int, pairs: int) -> Tensor:
    """Return every second step, the lowest number where it is masked."""
    steps = x[:, :, first : 2 * pairs : 2]
    if real is None:
        return steps
    off = ~real[:, None, first : 2 * pairs : 2, None]
    return steps.masked_fill(off, torch.finfo(x.dtype).min)


def _one_scale(
    x: Tensor,
    real: Tensor | None,
    terms: _Terms,
    count: Tensor,
    width: int,
    grad: Tensor | None,
) -> Tensor:
    """Return the loss of one scale of `count` anchors; its gradient is added to `grad`."""
    steps, anchors = x.shape[2], terms.anchors
    value = torch.zeros((), device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    share = 1 / count
    if terms.instance > 0:
        swapped = (2, 1, 0, 3)  # (N, 2, B, D): a group for each step
        records, to = x.permute(swapped), None if grad is None else grad.permute(swapped)
        here = None if real is None else real.T
        value += contrast(records, here, terms.instance * share, terms.records, grad=to)
    if terms.instance < 1 and steps > 1:
        near = None if terms.sharpness is None else time_weights(steps, terms.sharpness * width, x)
        drawn, share = None, (1 - terms.instance) * share
        if anchors is not None and anchors < steps:
            drawn = torch.randperm(steps, device=x.device)[:anchors]
            share = share * (steps / anchors)
        value += contrast(x, real, share, near, drawn, grad)
    return value


def _either(real: Tensor) -> Tensor:
    """Return which pooled steps are real: (B, N // 2)."""
    pairs = real.shape[1] // 2
    return real[:, 0 : 2 * pairs : 2] | real[:, 1 : 2 * pairs : 2]


def _counts(x: Tensor, real: Tensor | None) -> Tensor:
    """Return the number of anchors at each scale, of several processes their mean number.

    (64,) whatever the number of scales, in which processes may differ; at least 1 over all.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    counts = torch.zeros(_SCALES, device=x.device, dtype=dtype)
    for scale in range(x.shape[2].bit_length()):
        if real is None:
            counts[scale] = 2 * len(x) * (x.shape[2] >> scale)
        else:
            counts[scale] = 2 * real.sum()
            real = _either(real)
    return (all_reduce_sum(counts) / world_size()).clamp(min=1 / world_size())
