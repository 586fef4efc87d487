"""NT-Xent against a plain-Python reference, closed forms, gradients and messages."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy, normalize

from seqcl.losses import two_views
from seqcl.losses.base import Known
from seqcl.losses.nt_xent import NTXent, nt_xent
from seqcl.losses.pairs import Pairs

TEMPERATURES = (0.01, 0.05, 0.1, 0.5, 1.0)


def draw(rows: int, dim: int = 16, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow(a: Tensor, b: Tensor, temperature: float) -> float:
    """Write equation 1 out in plain Python."""
    rows = []
    for row in (*a.tolist(), *b.tolist()):
        norm = math.sqrt(math.fsum(value * value for value in row))
        rows.append([value / norm if norm else 0.0 for value in row])

    def score(i: int, j: int) -> float:
        return math.fsum(p * q for p, q in zip(rows[i], rows[j], strict=True)) / temperature

    n, m, total = len(a), len(rows), 0.0
    for i in range(m):
        scores = [score(i, j) for j in range(m) if j != i]
        top = max(scores)
        lse = top + math.log(math.fsum(math.exp(value - top) for value in scores))
        total += lse - score(i, (i + n) % m)
    return total / m


def naive(a: Tensor, b: Tensor, temperature: float | Tensor) -> Tensor:
    """Hold the whole matrix and leave the gradient to autograd."""
    n = len(a)
    z = normalize(torch.cat([a, b]), dim=1)
    scores = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return cross_entropy(scores, torch.arange(2 * n).roll(n))


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("n", [2, 3, 11])
def test_equals_the_equation_in_plain_python(n: int, temperature: float) -> None:
    a, b = draw(n), draw(n, seed=1)
    expected = slow(a, b, temperature)
    assert nt_xent(a, b, temperature).item() == pytest.approx(expected, rel=1e-12)
    assert nt_xent(a, b, torch.tensor(temperature)).item() == pytest.approx(expected, rel=1e-6)
    assert naive(a, b, temperature).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("n", [7, 255, 256, 257, 700, 1025])
def test_float32_equals_the_naive_form_in_loss_and_gradient(n: int, temperature: float) -> None:
    a, noise = draw(n), draw(n, seed=1)
    inputs = [a.requires_grad_(), (a + noise).detach().requires_grad_()]
    expected = naive(*inputs, temperature)
    exact = torch.cat(torch.autograd.grad(expected, inputs))
    ours = [x.detach().float().requires_grad_() for x in inputs]
    loss = nt_xent(*ours, temperature)
    grad = torch.cat(torch.autograd.grad(loss, ours))
    # Scores of 1 / temperature are rounded to 6e-8 of themselves, and exp passes that on.
    tolerance = max(1e-5, 1e-6 / temperature)
    assert abs(loss - expected) < tolerance
    assert (grad - exact).norm() < tolerance * exact.norm()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_equal_embeddings_give_the_logarithm_of_all_others(temperature: float) -> None:
    for n in (2, 9, 300):
        a = torch.ones(n, 5)
        assert nt_xent(a, 3 * a, temperature).item() == pytest.approx(math.log(2 * n - 1), rel=1e-5)


def test_perfect_pairs_that_are_orthogonal_to_all_others_have_a_closed_form() -> None:
    eye = torch.eye(6, dtype=torch.float64)
    expected = math.log(math.exp(1 / 0.5) + 10) - 1 / 0.5
    assert nt_xent(eye, eye, 0.5).item() == pytest.approx(expected, rel=1e-12)


def test_duplicates_in_one_view_are_negatives_like_any_other() -> None:
    a, b = draw(4).repeat(2, 1), draw(8, seed=1)
    assert nt_xent(a, b, 0.1).item() == pytest.approx(slow(a, b, 0.1), rel=1e-12)


def test_zero_rows_are_similar_to_nothing_and_get_no_gradient() -> None:
    a, b = draw(5), draw(5, seed=1)
    a[2] = 0
    expected = slow(a, b, 0.1)
    a.requires_grad_()
    loss = nt_xent(a, b, 0.1)
    loss.backward()
    assert a.grad is not None
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert a.grad.isfinite().all()
    assert (a.grad[2] == 0).all()
    zeros = torch.zeros(4, 3, requires_grad=True)
    loss = nt_xent(zeros, zeros, 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(7), rel=1e-6)
    assert zeros.grad is not None
    assert (zeros.grad == 0).all()


@pytest.mark.parametrize("learnt", [False, True])
def test_the_gradient_is_exact_in_float64(learnt: bool) -> None:
    a, b = draw(5, 3).requires_grad_(), draw(5, 3, seed=1).requires_grad_()
    if learnt:
        temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        assert gradcheck(nt_xent, (a, b, temperature))
    else:
        assert gradcheck(lambda a, b: nt_xent(a, b, 0.3), (a, b))


def test_the_mean_over_parts_of_the_anchors_is_the_whole_loss() -> None:
    a, b = draw(12).requires_grad_(), draw(12, seed=1).requires_grad_()
    whole = nt_xent(a, b, 0.1)
    parts = [nt_xent(a, b, 0.1, anchors=slice(i, i + 4)) for i in (0, 4, 8)]
    mean = torch.stack(parts).mean()
    torch.testing.assert_close(mean, whole, rtol=1e-12, atol=0)
    for ours, expected in zip(
        torch.autograd.grad(mean, (a, b)), torch.autograd.grad(whole, (a, b)), strict=True
    ):
        assert (ours - expected).norm() < 1e-12 * expected.norm()


def test_the_gradient_in_bfloat16_is_that_of_the_rounded_input() -> None:
    halves = [draw(40, seed=seed).bfloat16().requires_grad_() for seed in (0, 1)]
    floats = [half.detach().float().requires_grad_() for half in halves]
    loss, expected = nt_xent(*halves, 0.1), nt_xent(*floats, 0.1)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    for half, exact in zip(
        torch.autograd.grad(loss, halves), torch.autograd.grad(expected, floats), strict=True
    ):
        assert half.dtype == torch.bfloat16
        assert torch.equal(half, exact.bfloat16())


def test_the_object_is_the_function_with_its_temperature() -> None:
    a, b = draw(6), draw(6, seed=1)
    assert torch.equal(NTXent(temperature=0.2)(a, b), nt_xent(a, b, 0.2))
    assert torch.equal(NTXent()(a, b), nt_xent(a, b, 0.1))


def test_shapes_that_differ_are_told() -> None:
    message = (
        r"nt_xent: a is \(64, 128\) and b is \(32, 128\); "
        "both need the same number of rows and columns"
    )
    with pytest.raises(ValueError, match=message):
        nt_xent(torch.zeros(64, 128), torch.zeros(32, 128), 0.1)
    with pytest.raises(ValueError, match=r"a is \(2, 3, 4\)"):
        nt_xent(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), 0.1)


def test_a_single_record_is_told() -> None:
    with pytest.raises(ValueError, match="1 records have no negatives; at least 2 are needed"):
        nt_xent(torch.ones(1, 4), torch.ones(1, 4), 0.1)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_out_of_range_is_told(temperature: float) -> None:
    message = f"temperature is {temperature}; it must be above 0 and finite"
    with pytest.raises(ValueError, match=message):
        nt_xent(torch.ones(2, 4), torch.ones(2, 4), temperature)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_cuda_gives_what_the_cpu_gives(temperature: float) -> None:
    a, b = draw(3000, dtype=torch.float32), draw(3000, seed=1, dtype=torch.float32)
    found = []
    for device in ("cpu", "cuda"):
        x, y = a.to(device).requires_grad_(), b.to(device).requires_grad_()
        loss = nt_xent(x, y, temperature)
        grad = torch.cat(torch.autograd.grad(loss, (x, y)))
        found.append((loss.detach().cpu(), grad.cpu()))
    (loss, grad), (on_cuda, grad_on_cuda) = found
    # float32 scores of 1 / temperature, in another order of summation.
    assert abs(loss - on_cuda) < 1e-6 / temperature
    assert (grad - grad_on_cuda).norm() < 1e-5 / temperature * grad.norm()


@pytest.mark.parametrize("learns", [False, True])
def test_a_temperature_that_changes_costs_no_other_sum(
    learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU the largest score is known from it too, so that one pass serves."""
    bounds: list[float | None] = []
    plain = two_views.self_lse

    def noted(z: Tensor, bound: float | None, pairs: Pairs) -> Tensor:
        bounds.append(bound)
        return plain(z, bound, pairs)

    monkeypatch.setattr(two_views, "self_lse", noted)
    a, b = torch.randn(6, 4), torch.randn(6, 4)
    temperature = torch.tensor(0.25, requires_grad=learns)
    changing = NTXent(temperature=0.5)(a, b, Known(temperature=temperature))
    assert bounds == [4.0]
    torch.testing.assert_close(changing, NTXent(temperature=0.25)(a, b))
