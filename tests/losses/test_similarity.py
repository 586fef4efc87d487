"""The tiled log-sum-exps against plain references, their gradients and their memory."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from seqcl.losses import similarity, tiles
from seqcl.losses.pairs import Pairs
from seqcl.losses.similarity import cross_lse, self_lse, unit_rows

TILE = 512
TEMPERATURES = (0.01, 0.05, 0.1, 0.5, 1.0)


def draw(rows: int, dim: int = 16, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow_lse(anchors: Tensor, columns: Tensor, first: int) -> list[float]:
    """Sum in plain Python, one pair after another."""
    out = []
    for i, anchor in enumerate(anchors.tolist()):
        scores = [
            math.fsum(p * q for p, q in zip(anchor, column, strict=True))
            for j, column in enumerate(columns.tolist())
            if j != first + i
        ]
        top = max(scores)
        out.append(top + math.log(math.fsum(math.exp(score - top) for score in scores)))
    return out


def naive_lse(x: Tensor) -> Tensor:
    """Hold the whole matrix and leave the gradient to autograd."""
    return (x @ x.T).fill_diagonal_(-math.inf).logsumexp(1)


def small_blocks(rows: int, size: int = 3) -> Iterator[slice]:
    return (slice(i, min(i + size, rows)) for i in range(0, rows, size))


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("rows", [2, 3, 17, 40])
def test_both_forms_equal_a_plain_python_sum(rows: int, temperature: float) -> None:
    x = unit_rows(draw(rows), temperature**-0.5)
    expected = torch.tensor(slow_lse(x, x, 0), dtype=torch.float64)
    # float64 rounds scores of up to 1 / temperature = 100 to 1e-14.
    torch.testing.assert_close(self_lse(x, 1 / temperature), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(self_lse(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("first", [0, 3, 9])
def test_anchors_that_are_a_part_of_the_columns_equal_a_plain_python_sum(first: int) -> None:
    columns = unit_rows(draw(16), 3.0)
    anchors = columns[first : first + 7]
    expected = torch.tensor(slow_lse(anchors, columns, first), dtype=torch.float64)
    torch.testing.assert_close(cross_lse(anchors, columns, Pairs((first,))), expected)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("rows", [TILE - 1, TILE, TILE + 1, 3 * TILE + 70, 2048 + 3])
def test_float32_equals_the_whole_matrix_in_float64(rows: int, temperature: float) -> None:
    raw, pull = draw(rows), draw(rows, 1, seed=1).squeeze(1)
    exact = raw.clone().requires_grad_()
    expected = naive_lse(unit_rows(exact, temperature**-0.5))
    expected.backward(pull)
    assert exact.grad is not None
    for bound in (1 / temperature, None):
        x = raw.float().requires_grad_()
        lse = self_lse(unit_rows(x, temperature**-0.5), bound)
        lse.backward(pull.float())
        assert x.grad is not None
        # A score of 1 / temperature is rounded to 6e-8 of itself, and exp passes that on; the
        # sum of 2,000 terms and its logarithm, about 8, are rounded too.
        tolerance = 1e-6 / temperature + 3e-6
        assert (lse - expected).abs().max() < tolerance
        assert (x.grad - exact.grad).norm() < tolerance * exact.grad.norm()


@pytest.mark.parametrize("rows", [70, TILE + 70])
def test_a_torch_without_onednn_gives_the_same(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, columns = (draw(rows, seed=seed, dtype=torch.float32).requires_grad_() for seed in (0, 1))

    def run() -> Tensor:
        loss = self_lse(unit_rows(x, 3.0), 9.0).mean() + cross_lse(x, columns, Pairs()).mean()
        return torch.cat(
            [loss[None], *(g.flatten() for g in torch.autograd.grad(loss, (x, columns)))]
        )

    with_onednn = run()
    monkeypatch.setattr(tiles, "_LINEAR", None)
    # The products round in another order.
    torch.testing.assert_close(run(), with_onednn, rtol=1e-4, atol=1e-6)


def test_rows_in_any_layout_give_the_same() -> None:
    whole = draw(48, 600, dtype=torch.float32)
    x = unit_rows(whole[3:40, ::5].T, 2.0)  # a transposed slice
    y = whole[3:40, ::5].T.clone(memory_format=torch.contiguous_format)
    plain = unit_rows(y, 2.0)
    torch.testing.assert_close(self_lse(x, 4.0), self_lse(plain, 4.0))
    torch.testing.assert_close(cross_lse(x, x, Pairs()), self_lse(plain, 4.0))


def test_duplicate_rows_change_nothing_but_the_sum() -> None:
    x = unit_rows(draw(5), 2.0).repeat(4, 1)
    expected = torch.tensor(slow_lse(x, x, 0), dtype=torch.float64)
    torch.testing.assert_close(self_lse(x, 4.0), expected)
    torch.testing.assert_close(self_lse(x), expected)


def test_a_score_beyond_the_range_of_exp_is_no_overflow() -> None:
    x = draw(6, dtype=torch.float32) * 40  # scores of some ten thousands
    x.requires_grad_()
    lse = self_lse(x)
    lse.sum().backward()
    assert x.grad is not None
    assert lse.isfinite().all()
    assert x.grad.isfinite().all()
    # float32 keeps 6e-8 of a score, in sums of 16 products.
    torch.testing.assert_close(lse, naive_lse(x), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kept", [True, False])
def test_gradients_are_exact_in_float64_over_many_tiles(
    kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity, "_KEEP_ROWS", 100 if kept else 0)
    for module in (similarity, tiles):
        monkeypatch.setattr(module, "blocks", lambda x: small_blocks(len(x)))
    x = draw(8, 4).requires_grad_()
    columns = draw(9, 4, seed=1).requires_grad_()
    assert gradcheck(lambda x: self_lse(x, 40.0), (x,))
    assert gradcheck(self_lse, (x,))
    assert gradcheck(lambda a, b: cross_lse(a, b, Pairs((1,))), (x, columns))
    assert gradcheck(lambda a, b: cross_lse(a[:2], b, Pairs((4,))), (x, columns))


def test_the_backward_may_run_twice_over_one_graph() -> None:
    for bound in (9.0, None):
        x = unit_rows(draw(30), 3.0).requires_grad_()
        loss = self_lse(x, bound).sum()
        (once,) = torch.autograd.grad(loss, x, retain_graph=True)
        (twice,) = torch.autograd.grad(loss, x)
        assert torch.equal(once, twice)


def test_a_second_derivative_is_refused() -> None:
    x = unit_rows(draw(6), 2.0).requires_grad_()
    for bound in (4.0, None):
        with pytest.raises(RuntimeError, match="the tiled losses have no second derivative"):
            torch.autograd.grad(self_lse(x, bound).sum(), x, create_graph=True)


def test_unit_rows_gives_every_row_the_norm_asked_for() -> None:
    norms = unit_rows(draw(9) * 1e-6, 2.5).norm(dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, 2.5))


def test_a_zero_row_stays_zero_and_gets_no_gradient() -> None:
    x = draw(4)
    x[1] = 0
    x.requires_grad_()
    z = unit_rows(x)
    (z * draw(4, seed=2)).sum().backward()
    assert x.grad is not None
    assert (z[1] == 0).all()
    assert (x.grad[1] == 0).all()
    assert x.grad.isfinite().all()


def test_a_row_whose_norm_overflows_is_not_taken_for_a_zero_row() -> None:
    x = draw(4, dtype=torch.float32)
    x[1] *= 1e20
    z = unit_rows(x)
    assert z[1].isnan().all()
    assert z[[0, 2, 3]].isfinite().all()


def test_the_scale_of_unit_rows_gets_its_gradient() -> None:
    x, scale = draw(4).requires_grad_(), torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    assert gradcheck(unit_rows, (x, scale))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_raised_to_float32(dtype: torch.dtype) -> None:
    x = draw(8).to(dtype)
    assert unit_rows(x).dtype == torch.float32
    torch.testing.assert_close(unit_rows(x), unit_rows(x.float()), rtol=0, atol=0)


def test_autocast_does_not_lower_the_precision() -> None:
    x = unit_rows(draw(40, dtype=torch.float32), 3.0).requires_grad_()
    for bound in (9.0, None):
        (plain,) = torch.autograd.grad(self_lse(x, bound).sum(), x)
        with torch.autocast("cpu", torch.bfloat16):
            (lowered,) = torch.autograd.grad(self_lse(x, bound).sum(), x)
        assert torch.equal(plain, lowered)


def test_one_row_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="self_lse: x has 1 rows; at least 2 are needed"):
        self_lse(draw(1))


_PEAK = """
import re, sys, torch
from pathlib import Path
from seqcl.losses.pairs import Pairs
from seqcl.losses.similarity import self_lse, unit_rows
def resident(field):
    return int(re.search(field + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
def step(x, bound):
    self_lse(unit_rows(x, 3.0), bound).mean().backward()
bound = eval(sys.argv[2])
step(torch.randn(64, 128, requires_grad=True), bound)
x = torch.randn(int(sys.argv[1]), 128, requires_grad=True)
before = resident("VmRSS")
step(x, bound)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
@pytest.mark.parametrize("bound", [9.0, None])
def test_8192_rows_take_less_memory_than_a_tenth_of_their_matrix(bound: float | None) -> None:
    command = [sys.executable, "-c", _PEAK, "8192", repr(bound)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert re.fullmatch(r"\d+\.\d+\n", done.stdout)
    # The float32 matrix is 256 MB; x has 4 MB, and a handful of tensors of its size are needed.
    assert 8 < float(done.stdout) < 26
