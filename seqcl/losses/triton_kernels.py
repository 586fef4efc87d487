"""The Triton kernels of `seqcl.losses.triton_lse`: sums of exponentials, and their gradient.

A program takes a block of rows and goes through all columns. Its arguments beside the rows i
(R, D) and the columns j (M, D) are those of `seqcl.losses.triton_pairs.FlatPairs`.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import math

import triton
import triton.language as tl

__all__ = ["log_sums", "pull"]

_LOG2_E = tl.constexpr(1 / math.log(2))
_LOWEST = tl.constexpr(-3.4028234663852886e38)
_NEVER = tl.constexpr(-math.inf)
_FREE = ("skip_0", "skip_1", "skip_2", "keep_0", "keep_1", "drawn_count", "first", "above")
"""Arguments for whose special values (1, multiples of 16) no kernel is compiled."""


@triton.jit
def _rows_of(x, i, count, DIM: tl.constexpr, PADDED: tl.constexpr):
    d = tl.arange(0, PADDED)
    inside = (i < count)[:, None] & (d < DIM)[None, :]
    return tl.load(x + i.to(tl.int64)[:, None] * DIM + d[None, :], mask=inside, other=0.0)


@triton.jit
def _scores(
    own, other, i, j, row_count, column_count,
    skip_0, skip_1, skip_2, keep_0, keep_1,
    codes_i, codes_j, norms_i, norms_j, above, drawn, drawn_count, first,
    NEAR: tl.constexpr, SIGN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return ``s_ij / ln 2`` of a tile, -inf where a pair does not count."""
    scores = tl.dot(own, tl.trans(other), input_precision=PRECISION) * _LOG2_E
    way = j[None, :] - i[:, None]
    real_i, real_j = i < row_count, j < column_count
    hidden = way != way
    for k in tl.static_range(len(NEAR)):
        code_i = tl.load(codes_i + k * row_count + i, mask=real_i, other=0)
        code_j = tl.load(codes_j + k * column_count + j, mask=real_j, other=0)
        apart = tl.abs(code_i[:, None] - code_j[None, :])
        if NEAR[k] > 0:
            hidden |= apart < NEAR[k]
        if NEAR[k] < 0:
            hidden |= apart >= -NEAR[k]
    if norms_i is not None:
        norm_i = tl.load(norms_i + i, mask=real_i, other=0.0)
        norm_j = tl.load(norms_j + j, mask=real_j, other=0.0)
        hidden = hidden | (scores > (norm_i * above)[:, None] * norm_j[None, :])
    if drawn is not None:
        further = (SIGN * way - first + drawn_count) % drawn_count
        real = real_i[:, None] & real_j[None, :]
        hidden = hidden | (tl.load(drawn + further, mask=real, other=0) == 0)
    hidden = hidden & (way != keep_0) & (way != keep_1)
    hidden = hidden | (way == skip_0) | (way == skip_1) | (way == skip_2)
    return tl.where(hidden | (j >= column_count)[None, :], _NEVER, scores)


@triton.jit(do_not_specialize=_FREE)
def log_sums(
    rows, columns, out, row_count, column_count,
    skip_0, skip_1, skip_2, keep_0, keep_1,
    codes_i, codes_j, norms_i, norms_j, above, drawn, drawn_count, first,
    NEAR: tl.constexpr, SIGN: tl.constexpr, BOUNDED: tl.constexpr, PRECISION: tl.constexpr,
    DIM: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Store ``log2 sum_j exp s_ij`` of each row; BOUNDED: without a running maximum."""
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    own = _rows_of(rows, i, row_count, DIM, PADDED)
    top = tl.full((ROWS,), 0.0 if BOUNDED else _LOWEST, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(0, column_count, COLUMNS):
        j = start + tl.arange(0, COLUMNS)
        other = _rows_of(columns, j, column_count, DIM, PADDED)
        scores = _scores(
            own, other, i, j, row_count, column_count,
            skip_0, skip_1, skip_2, keep_0, keep_1,
            codes_i, codes_j, norms_i, norms_j, above, drawn, drawn_count, first,
            NEAR, SIGN, PRECISION,
        )  # fmt: skip
        if not BOUNDED:
            higher = tl.maximum(top, tl.max(scores, 1))
            total *= tl.exp2(top - higher)
            top = higher
            scores -= top[:, None]
        total += tl.sum(tl.exp2(scores), 1)
    tl.store(out + i, top + tl.log2(total), mask=i < row_count)


@triton.jit(do_not_specialize=_FREE)
def pull(
    rows, columns, lse_i, grad_i, lse_j, grad_j, out, row_count, column_count,
    skip_0, skip_1, skip_2, keep_0, keep_1,
    codes_i, codes_j, norms_i, norms_j, above, drawn, drawn_count, first,
    NEAR: tl.constexpr, SIGN: tl.constexpr, BOUNDED: tl.constexpr, PRECISION: tl.constexpr,
    DIM: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Store the gradient by the rows, given logarithms of sums and the gradients by them.

    Those of i are None where rows are no anchors, those of j where columns are none. BOUNDED: both
    are, and the gradients are over the sums.
    """
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    own = _rows_of(rows, i, row_count, DIM, PADDED)
    if lse_i is not None:
        l_i = tl.load(lse_i + i, mask=i < row_count, other=0.0)
        g_i = tl.load(grad_i + i, mask=i < row_count, other=0.0)
    total = tl.zeros((ROWS, PADDED), tl.float32)
    for start in range(0, column_count, COLUMNS):
        j = start + tl.arange(0, COLUMNS)
        other = _rows_of(columns, j, column_count, DIM, PADDED)
        scores = _scores(
            own, other, i, j, row_count, column_count,
            skip_0, skip_1, skip_2, keep_0, keep_1,
            codes_i, codes_j, norms_i, norms_j, above, drawn, drawn_count, first,
            NEAR, SIGN, PRECISION,
        )  # fmt: skip
        if lse_j is not None:
            l_j = tl.load(lse_j + j, mask=j < column_count, other=0.0)
            g_j = tl.load(grad_j + j, mask=j < column_count, other=0.0)
        if BOUNDED:
            weights = tl.exp2(scores) * (g_i[:, None] + g_j[None, :])
        elif lse_j is None:
            weights = tl.exp2(scores - l_i[:, None]) * g_i[:, None]
        elif lse_i is None:
            weights = tl.exp2(scores - l_j[None, :]) * g_j[None, :]
        else:
            weights = tl.exp2(scores - l_i[:, None]) * g_i[:, None]
            weights += tl.exp2(scores - l_j[None, :]) * g_j[None, :]
        total += tl.dot(weights.to(other.dtype), other, input_precision=PRECISION)
    d = tl.arange(0, PADDED)
    inside = (i < row_count)[:, None] & (d < DIM)[None, :]
    tl.store(out + i.to(tl.int64)[:, None] * DIM + d[None, :], total, mask=inside)
