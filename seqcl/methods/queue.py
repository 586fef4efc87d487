"""Queue: rows of the last batches, the oldest replaced first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from seqcl.distributed import gather_with_grad

__all__ = ["Queue"]


class Queue(nn.Module):
    """The last `size` rows that were pushed, the same on all processes, in the state of a run.

    It starts with random unit vectors, as in MoCo's code, drawn from torch's generator.

    Args:
        size: K, rows that are kept.
        *shape: of one row; the last axis has unit length at the start.
    """

    rows: Tensor
    """(K, *shape)."""
    pushed: Tensor
    """Scalar int64, how many rows were pushed since the start."""

    def __init__(self, size: int, *shape: int) -> None:
        super().__init__()
        self.register_buffer("rows", normalize(torch.randn(size, *shape), dim=-1))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    @property
    def full(self) -> Tensor:
        """Bool scalar on the device: no random row of the start is left."""
        return self.pushed >= len(self.rows)

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Add the rows (B, *shape) of all processes, in order of rank."""
        rows = gather_with_grad(rows)
        size = len(self.rows)
        kept = rows[-size:]  # of a batch larger than the queue
        first = self.pushed + len(rows) - len(kept)
        places = (first + torch.arange(len(kept), device=rows.device)) % size
        self.rows.index_copy_(0, places, kept.to(self.rows.dtype))
        self.pushed += len(rows)
