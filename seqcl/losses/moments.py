"""Moments of a batch: what losses without negatives are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from seqcl.losses.base import check_views
from seqcl.losses.tiles import full_precision

__all__ = ["checked", "diagonal_and_rest", "products"]


def checked(name: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return views of one shape (N, D) in float32 at least; raises ValueError, as `name`."""
    check_views(name, a, b, least=0)
    if len(a) < 2:
        raise ValueError(f"{name}: {len(a)} records have no variance; at least 2 are needed")
    kind = torch.promote_types(a.dtype, torch.float32)
    return a.to(kind), b.to(kind)


def products(a: Tensor, b: Tensor) -> Tensor:
    """Return the products (D, D) of the columns of `a` and `b` (N, D), summed over the rows."""
    with full_precision(a):
        return a.T @ b


def diagonal_and_rest(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the diagonal (D,) of a matrix (D, D), and its other elements (D - 1, D)."""
    size = len(matrix)
    # Cut before its last element into rows of D + 1, each begins with an element of the diagonal.
    rest = matrix.flatten()[:-1].view(size - 1, size + 1)[:, 1:]
    return matrix.diagonal(), rest
