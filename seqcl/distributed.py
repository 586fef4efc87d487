"""Processes of one run: who am I, how many, and sums and gathers that keep the gradient.

Without an initialised process group all of this is one process and costs nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

__all__ = ["all_reduce_sum", "gather_rows", "gather_with_grad", "rank", "world_size"]


def rank() -> int:
    """Return the number of this process, 0 to world size - 1."""
    return distributed.get_rank() if _initialised() else 0


def world_size() -> int:
    """Return how many processes there are."""
    return distributed.get_world_size() if _initialised() else 1


def all_reduce_sum(x: Tensor) -> Tensor:
    """Return the sum of `x` over all processes, without gradient; `x` is left as it is."""
    total = x.detach().clone(memory_format=torch.contiguous_format)
    if world_size() > 1:
        distributed.all_reduce(total)
    return total


def gather_with_grad(x: Tensor) -> Tensor:
    """Return `x` (N, ...) of all processes joined along dimension 0 in order of rank.

    All processes must hold the same shape. The backward sums over the processes: each row gets
    the gradient that every process's loss sends it.
    """
    if world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return gathered


def gather_rows(x: Tensor) -> Tensor:
    """Return the rows (N_r, ...) of all processes in order of rank, which may differ in number."""
    if world_size() == 1:
        return x
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world_size())]
    distributed.all_gather(counts, counts[0].new_tensor([len(x)]))
    sizes = [int(count) for count in counts]
    padded = x.new_zeros(max(sizes), *x.shape[1:])
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def _initialised() -> bool:
    return distributed.is_available() and distributed.is_initialized()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.own = slice(rank() * len(x), (rank() + 1) * len(x))
        parts = [torch.empty_like(x) for _ in range(world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return all_reduce_sum(grad)[ctx.own]
