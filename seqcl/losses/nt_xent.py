"""NT-Xent, the loss of SimCLR (Chen et al. 2020, arXiv 2002.05709, equation 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from seqcl.distributed import gather_with_grad, rank, world_size
from seqcl.losses.base import Known, PairLoss
from seqcl.losses.similarity import cross_lse, self_lse, unit_rows

__all__ = ["NTXent", "nt_xent"]


def nt_xent(
    a: Tensor, b: Tensor, temperature: float | Tensor, *, anchors: slice | None = None
) -> Tensor:
    """Return the mean of -log softmax of each anchor's positive among all other rows.

    With z the 2N unit rows of `a` and `b`, s_ij = z_i . z_j / temperature and p(i) the other view
    of i: ``mean_i(log(sum_{j != i} exp s_ij) - s_ip(i))``. Lower is better; all rows equal give
    log(2N - 1). A zero row counts as similar to nothing and gets no gradient.

    Args:
        a: (N, D) projections of one view, of any scale; N at least 2. bfloat16 and float16 are
            computed in float32.
        b: (N, D) projections of the other view, rows in the same order.
        temperature: above 0; a scalar tensor gets its gradient.
        anchors: the rows of `a` and of `b` that count as anchors, all by default. A process of
            several passes its own, with `a` and `b` gathered over all.
    """
    _check(a, b, temperature)
    n = len(a)
    z = unit_rows(torch.cat([a, b]), temperature**-0.5)  # (2N, D)
    za, zb = z.chunk(2)
    if anchors is None:
        bound = None if isinstance(temperature, Tensor) else 1 / temperature
        return self_lse(z, bound).mean() - (za * zb).sum(1).mean()
    first, _, _ = anchors.indices(n)
    lse = torch.cat([cross_lse(za[anchors], z, first), cross_lse(zb[anchors], z, n + first)])
    return lse.mean() - (za[anchors] * zb[anchors]).sum(1).mean()


def _check(a: Tensor, b: Tensor, temperature: float | Tensor) -> None:
    if a.dim() != 2 or a.shape != b.shape:
        raise ValueError(
            f"nt_xent: a is {tuple(a.shape)} and b is {tuple(b.shape)}; "
            "both need the same number of rows and columns"
        )
    if len(a) < 2:
        raise ValueError(f"nt_xent: {len(a)} records have no negatives; at least 2 are needed")
    if not isinstance(temperature, Tensor) and not 0 < temperature < math.inf:
        raise ValueError(f"nt_xent: temperature is {temperature}; it must be above 0 and finite")


@dataclass(frozen=True, kw_only=True)
class NTXent(PairLoss):
    """NT-Xent between two views; over several processes, against the batch of all of them.

    Each process returns the mean over its own anchors: averaging the gradients over processes,
    as DDP does, gives the gradient of one process with the whole batch.
    """

    temperature: Annotated[float, Gt(0)] = 0.1

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
        temperature: float | Tensor = self.temperature
        if known is not None and known.temperature is not None:
            temperature = known.temperature
        if world_size() == 1:
            return nt_xent(a, b, temperature)
        first = rank() * len(a)
        own = slice(first, first + len(a))
        return nt_xent(gather_with_grad(a), gather_with_grad(b), temperature, anchors=own)
