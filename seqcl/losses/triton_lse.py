"""The log-sum-exps of `seqcl.losses.similarity` as Triton kernels, for a CUDA device.

One kernel gives ``l_i = log2 sum_j exp s_ij``, one the gradient, both by rows of tiles that stay
on the chip: no atomic sums, so the same call gives the same bits. With g = dL/dlse and
P_ij = exp(s_ij) / 2 ** l_i the gradient is ``da_i = sum_j P_ij g_i b_j`` and
``db_j = sum_i P_ij g_i a_i``. Of rows against themselves both are one pass,
``dx_i = sum_j (P_ij g_i + P_ji g_j) x_j``: 6 M^2 D flop forward and backward, where Inf-CL
(arXiv 2410.17243) takes 10. Where no score can overflow, exp(s_ij) needs no maximum and serves
both terms.

Rows and sums are float32. Products are as exact as
``torch.set_float32_matmul_precision`` says: "highest", the default, takes three TF32 products,
which is float32 up to its last bits; "high" one; "medium" rounds the rows to bfloat16.

These kernels were checked against the tiles of torch in Triton's interpreter, which has no
bfloat16 products, and compiled for compute capability 8.0, 8.6 and 9.0; they have not yet run on a
device. ``seqcl doctor`` compares them with the tiles on yours.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from seqcl.losses.tiles import refuse_second_derivative
from seqcl.losses.triton_kernels import log_sums, pull
from seqcl.losses.triton_pairs import FlatPairs

__all__ = ["cross_lse", "fits", "launch_shape", "self_lse"]

_WIDEST = {torch.float32: 128, torch.bfloat16: 256}
"""Features of a row at most: tiles of wider ones would not fit beside their gradient."""

_LN_2 = math.log(2)
_TF32 = {"highest": "tf32x3", "high": "tf32", "medium": "tf32"}


def self_lse(x: Tensor, pairs: FlatPairs, *, bounded: bool) -> Tensor:
    """Return the log-sum-exps of the rows of `x` (M, D) against each other: (M,).

    `bounded` says that no sum of exp s_ij, nor its inverse, overflows float32.
    """
    lse: Tensor = _TritonSelfLse.apply(x.contiguous(), pairs, bounded)  # type: ignore[no-untyped-call]
    return lse


def cross_lse(anchors: Tensor, columns: Tensor, pairs: FlatPairs) -> Tensor:
    """Return the log-sum-exps of `anchors` (R, D) against `columns` (M, D): (R,)."""
    lse: Tensor = _TritonCrossLse.apply(  # type: ignore[no-untyped-call]
        anchors.contiguous(), columns.contiguous(), pairs
    )
    return lse


def fits(x: Tensor) -> bool:
    """Return whether the kernels take rows of this type and width."""
    return x.dtype == torch.float32 and x.shape[1] <= _WIDEST[_product_type(x)]


class _TritonSelfLse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, pairs: FlatPairs, bounded: bool) -> Tensor:
        rows = _rounded(x)
        lse = _log_sums(rows, rows, pairs, bounded=bounded)
        ctx.pairs, ctx.bounded = pairs, bounded
        ctx.save_for_backward(rows, lse)
        return lse * _LN_2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        refuse_second_derivative()
        rows, lse = ctx.saved_tensors
        lse, grad = _without_empty(lse), grad.contiguous()
        if ctx.bounded:
            grad = grad * torch.exp2(-lse)
        both = (lse, grad)
        return _pull(rows, rows, both, both, ctx.pairs, bounded=ctx.bounded), None, None


class _TritonCrossLse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchors: Tensor, columns: Tensor, pairs: FlatPairs) -> Tensor:
        rows, others = _rounded(anchors), _rounded(columns)
        lse = _log_sums(rows, others, pairs, bounded=False)
        ctx.pairs = pairs
        ctx.save_for_backward(rows, others, lse)
        return lse * _LN_2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        refuse_second_derivative()
        rows, others, lse = ctx.saved_tensors
        own = (_without_empty(lse), grad.contiguous())
        to_anchors = _pull(rows, others, own, None, ctx.pairs)
        if not ctx.needs_input_grad[1]:  # a queue
            return to_anchors, None, None
        return to_anchors, _pull(others, rows, None, own, ctx.pairs.transposed()), None


def _product_type(x: Tensor) -> torch.dtype:
    """Return the type that products of the rows of `x` are taken in."""
    return torch.bfloat16 if torch.get_float32_matmul_precision() == "medium" else x.dtype


def _rounded(x: Tensor) -> Tensor:
    """Return the rows that products are taken of; the interpreter has none of bfloat16."""
    rounded = x.to(_product_type(x))
    return rounded.to(x.dtype) if triton.knobs.runtime.interpret else rounded


def _without_empty(lse: Tensor) -> Tensor:
    """Return `lse` such that a row without pairs gets no gradient."""
    return lse.masked_fill(lse == -math.inf, math.inf)


def _log_sums(rows: Tensor, columns: Tensor, pairs: FlatPairs, *, bounded: bool) -> Tensor:
    """Return ``log2 sum_j exp s_ij`` of each row: (R,) float32."""
    out = rows.new_empty(len(rows), dtype=torch.float32)
    shape = launch_shape(rows, columns)
    with torch.cuda.device_of(rows):  # type: ignore[no-untyped-call]
        log_sums[_grid(rows, shape)](
            rows, columns, out, BOUNDED=bounded, **pairs.arguments(), **shape
        )
    return out


def _pull(
    rows: Tensor,
    columns: Tensor,
    of_rows: tuple[Tensor, Tensor] | None,
    of_columns: tuple[Tensor, Tensor] | None,
    pairs: FlatPairs,
    *,
    bounded: bool = False,
) -> Tensor:
    """Return the gradient by `rows`, (R, D) float32.

    `of_rows` and `of_columns` are the logarithms and their gradients where rows, or columns, are
    anchors; with `bounded` the gradients over the sums.
    """
    out = rows.new_empty(rows.shape, dtype=torch.float32)
    lse_i, grad_i = of_rows or (None, None)
    lse_j, grad_j = of_columns or (None, None)
    shape = launch_shape(rows, columns)
    with torch.cuda.device_of(rows):  # type: ignore[no-untyped-call]
        pull[_grid(rows, shape)](
            rows, columns, lse_i, grad_i, lse_j, grad_j, out,
            BOUNDED=bounded, **pairs.arguments(), **shape,
        )  # fmt: skip
    return out


def _grid(rows: Tensor, shape: dict[str, Any]) -> tuple[int]:
    return (triton.cdiv(len(rows), shape["ROWS"]),)


def launch_shape(rows: Tensor, columns: Tensor) -> dict[str, Any]:
    """Return the sizes of a call and of its tiles, which leave two of them 99 KB of a chip."""
    dim = rows.shape[1]
    padded = max(16, triton.next_power_of_2(dim))
    half = rows.dtype == torch.bfloat16
    wide = padded > 128
    return {
        "row_count": len(rows),
        "column_count": len(columns),
        "DIM": dim,
        "PADDED": padded,
        "ROWS": 64 if wide or not half else 128,
        "COLUMNS": 32 if wide or not half else 64,
        "PRECISION": _TF32[torch.get_float32_matmul_precision()],
        "num_warps": 8 if half and not wide else 4,
        "num_stages": 2,
    }
