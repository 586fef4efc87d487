"""One step's mathematics: losses of the parts of a batch, their gradient, its norm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from seqcl.batch import Batch
from seqcl.methods.base import Loss, Method
from seqcl.training.gradcache import chunked_backward
from seqcl.training.seeding import seed_torch
from seqcl.training.shortage import together

__all__ = ["backward", "clip_gradient", "weights_finite"]


def backward(
    method: Method,
    views: tuple[Batch, ...],
    parts: int,
    key: tuple[int, ...],
    chunk: int | None = None,
) -> Loss:
    """Add the gradient of the loss to the weights; returns the loss, detached.

    With more than one part, the records are encoded part after part, in parts that differ by one
    record at most. The loss is then the mean over parts, weighted by their records, and `carry`
    is joined in the order of the records, so `after_step` sees the rows of the whole batch.

    Args:
        method: gives the loss.
        views: of the whole batch.
        parts: how many parts.
        key: integers that seed torch (dropout, sampled anchors), together with the part.
        chunk: records that each part is encoded by, see `gradcache`; None = all at once.
    """
    count = len(views[0])
    bounds = [count * part // parts for part in range(parts + 1)]
    losses: list[Loss] = []
    shares: list[float] = []
    for part, (first, stop) in enumerate(pairwise(bounds)):
        rows = slice(first, stop)
        own = views if parts == 1 else tuple(view[rows] for view in views)
        share = (stop - first) / count
        if chunk is None:
            losses.append(_part_backward(method, own, (*key, part), share))
        else:
            losses.append(chunked_backward(method, own, chunk, (*key, part), share))
        shares.append(share)
    return _joined(losses, shares)


def clip_gradient(module: nn.Module, largest: float | None) -> Tensor:
    """Scale the gradient down to norm `largest`; returns its norm before, on the device.

    Of methods that learn apart each has its own, and the largest norm is returned.
    """
    members = module.members if isinstance(module, Method) else (module,)
    if len(members) > 1:
        return torch.stack([clip_gradient(one, largest) for one in members]).amax()
    weights = [weight for weight in module.parameters() if weight.grad is not None]
    norm = torch.nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
    if largest is not None:
        torch.nn.utils.clip_grads_with_norm_(weights, largest, norm)
    return norm


def weights_finite(module: nn.Module) -> bool:
    """Return whether every weight is finite; waits for the device."""
    return bool(torch.nn.utils.get_total_norm(list(module.parameters())).isfinite())


def _part_backward(
    method: Method, views: tuple[Batch, ...], key: tuple[int, ...], share: float
) -> Loss:
    """Add a share of the gradient of one part; what it returns keeps no activations alive."""
    seed_torch(*key, device=views[0].values.device)
    method.check(views)
    loss = method.objective(together(lambda: method.encode(views)))
    torch.autograd.backward([loss.total * share])
    return loss.detached()


def _joined(losses: Sequence[Loss], shares: Sequence[float]) -> Loss:
    def mean(values: Sequence[Tensor]) -> Tensor:
        return torch.stack(
            [value * share for value, share in zip(values, shares, strict=True)]
        ).sum(dim=0)

    first = losses[0]
    return Loss(
        mean([loss.total for loss in losses]),
        {name: mean([loss.parts[name] for loss in losses]) for name in first.parts},
        {name: torch.cat([loss.carry[name] for loss in losses]) for name in first.carry},
    )
