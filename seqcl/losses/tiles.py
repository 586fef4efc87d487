"""What the tiled kernels share: blocks of rows, a fast product, full precision."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = [
    "blocks",
    "full_precision",
    "product",
    "product_of_columns",
    "refuse_second_derivative",
    "upper_triangle",
]

_ONEDNN = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if _ONEDNN else None
"""oneDNN's float32 product, up to twice as fast as MKL's on an AMD CPU; it is what torch.compile
calls. A torch without it takes its own product."""


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b.T``.

    `b` is contiguous or the transpose of what is: oneDNN takes a thousand times as long for
    transposed slices.
    """
    if _LINEAR is not None and a.device.type == "cpu" and a.dtype == torch.float32:
        out: Tensor = _LINEAR(a, b, None, "none", [], "")
        return out
    return a @ b.T


def product_of_columns(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a.T @ b``, computed so that oneDNN need not turn the larger `a` around."""
    return product(b.T, a.T).T


def blocks(x: Tensor) -> Iterator[slice]:
    """Cut rows into blocks: 512 keep a tile in a core's cache, 4,096 keep a GPU busy."""
    size = 512 if x.device.type == "cpu" else 4096
    for start in range(0, len(x), size):
        yield slice(start, min(start + size, len(x)))


def upper_triangle(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield the tiles of a symmetric matrix that hold each pair of rows at least once."""
    parts = tuple(blocks(x))
    for i, rows in enumerate(parts):
        for columns in parts[i:]:
            yield rows, columns


def full_precision(x: Tensor) -> torch.autocast:
    """Return a context in which autocast does not lower the precision."""
    return torch.autocast(x.device.type, enabled=False)


def refuse_second_derivative() -> None:
    """Raise in a backward under create_graph, whose result would be taken for a constant."""
    if torch.is_grad_enabled():
        raise RuntimeError("the tiled losses have no second derivative; use their first")
