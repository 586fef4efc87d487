"""One step's mathematics: losses of the parts of a batch, their gradient, its norm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from seqcl.batch import Batch
from seqcl.methods.base import Loss, Method

__all__ = ["backward", "clip_gradient", "own_random_state", "seed_torch", "weights_finite"]

_HOST = torch.device("cpu")


def backward(method: Method, views: tuple[Batch, ...], parts: int, key: tuple[int, ...]) -> Loss:
    """Add the gradient of the loss to the weights; returns the loss, detached.

    With more than one part, the records are encoded part after part, in parts that differ by one
    record at most. The loss is then the mean over parts, weighted by their records, and `carry`
    is joined in the order of the records, so `after_step` sees the rows of the whole batch.

    Args:
        method: gives the loss.
        views: of the whole batch.
        parts: how many parts.
        key: integers that seed torch (dropout, sampled anchors), together with the part.
    """
    count = len(views[0])
    bounds = [count * part // parts for part in range(parts + 1)]
    losses: list[Loss] = []
    shares: list[float] = []
    for part, (first, stop) in enumerate(pairwise(bounds)):
        seed_torch(*key, part, device=views[0].values.device)
        rows = slice(first, stop)
        loss = method(views if parts == 1 else tuple(view[rows] for view in views))
        share = (stop - first) / count
        (loss.total * share).backward()
        losses.append(loss)
        shares.append(share)
    return _joined(losses, shares)


def clip_gradient(module: nn.Module, largest: float | None) -> Tensor:
    """Scale the gradient down to norm `largest`; returns its norm before, on the device."""
    weights = [weight for weight in module.parameters() if weight.grad is not None]
    norm = torch.nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
    if largest is not None:
        torch.nn.utils.clip_grads_with_norm_(weights, largest, norm)
    return norm


def weights_finite(module: nn.Module) -> bool:
    """Return whether every weight is finite; waits for the device."""
    return bool(torch.nn.utils.get_total_norm(list(module.parameters())).isfinite())


def seed_torch(*key: int, device: torch.device = _HOST) -> None:
    """Seed torch's generators of the host and of `device` from (seed, …): no state to save.

    Not ``torch.manual_seed``: that seeds every GPU, those that others work on too.
    """
    sequence = np.random.SeedSequence(key[0], spawn_key=key[1:])
    seed = int(sequence.generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def own_random_state(device: torch.device) -> Iterator[None]:
    """Leave the generators that `seed_torch` seeds as they were; deterministic convolutions."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        torch.backends.cudnn.deterministic = before


def _joined(losses: Sequence[Loss], shares: Sequence[float]) -> Loss:
    def mean(values: Sequence[Tensor]) -> Tensor:
        return torch.stack(
            [value.detach() * share for value, share in zip(values, shares, strict=True)]
        ).sum(dim=0)

    first = losses[0]
    return Loss(
        mean([loss.total for loss in losses]),
        {name: mean([loss.parts[name] for loss in losses]) for name in first.parts},
        {name: torch.cat([loss.carry[name].detach() for loss in losses]) for name in first.carry},
    )
