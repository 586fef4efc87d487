"""Balanced assignments to prototypes (Caron et al. 2020, arXiv 2006.09882, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sinkhorn"]


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return soft assignments (N, P), each row of sum 1, the columns nearly of equal sums.

    Sinkhorn and Knopp's iteration (equations 3 to 5) on ``exp(scores / epsilon)``: columns are
    scaled to equal sums, then rows, so many times. It runs on logarithms, so nothing overflows;
    equal scores give 1 / P everywhere. No gradient.

    Args:
        scores: (N, P) products of records and prototypes.
        epsilon: smaller = nearer to one prototype for each record.
        iterations: at least 1.
    """
    logs = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    for _ in range(iterations):
        logs = logs - logs.logsumexp(0, keepdim=True)
        logs = logs - logs.logsumexp(1, keepdim=True)
    return logs.exp()
