"""Processes of one run: who am I, how many, sums and gathers, and what rank 0 does for all.

Without an initialised process group all of this is one process and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

__all__ = [
    "all_reduce_sum",
    "from_first",
    "gather_rows",
    "gather_with_grad",
    "largest",
    "mean_over_processes",
    "own_rows",
    "rank",
    "world_size",
]

T = TypeVar("T")
Rows = TypeVar("Rows", Tensor, npt.NDArray[np.int64])


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


def mean_over_processes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return each tensor's mean over all processes, without gradient, by one sum of them all."""
    if world_size() == 1:
        return [x.detach() for x in tensors]
    joined = torch.cat([x.detach().flatten() for x in tensors])
    distributed.all_reduce(joined)
    parts = torch.split(joined / world_size(), [x.numel() for x in tensors])
    return [part.view_as(x).to(x.dtype) for part, x in zip(parts, tensors, strict=True)]


def largest(numbers: Sequence[int]) -> list[int]:
    """Return the largest of each number over all processes; waits for them, not for a GPU."""
    if world_size() == 1:
        return list(numbers)
    found = torch.tensor(numbers, dtype=torch.int64)
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return found.tolist()


def from_first(make: Callable[[], T]) -> T:
    """Return what `make` gives on rank 0, where alone it runs; its error is raised by all."""
    if world_size() == 1:
        return make()
    made: list[Any] = [None, None]
    if rank() == 0:
        try:
            made[0] = make()
        except Exception as error:
            made[1] = error
    distributed.broadcast_object_list(made)
    if made[1] is not None:
        raise made[1]
    result: T = made[0]
    return result


def own_rows(rows: Rows, rank: int, world: int, parts: int = 1) -> Rows:
    """Return the rows (B, ...) of a global batch that process `rank` of `world` takes.

    The batch falls into `parts` that are contrasted apart; of each, every process takes as many
    rows, in order of rank. B must be a multiple of ``parts * world``.
    """
    if world == 1:
        return rows
    rest = rows.shape[1:]
    split = rows.reshape(parts, world, len(rows) // (parts * world), *rest)
    return split[:, rank].reshape(len(rows) // world, *rest)


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
