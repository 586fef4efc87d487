"""TS2Vec's loss against a reference in plain loops, hard and soft, whole and masked."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from seqcl.losses import group_lse, group_tiles
from seqcl.losses.hierarchical import hierarchical
from seqcl.losses.soft import record_weights


def features(rows: int, steps: int, dim: int = 5, scale: float = 0.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows * 100 + steps)
    first = scale * torch.randn(rows, steps, dim, generator=generator, dtype=torch.float64)
    second = first + scale * torch.randn(first.shape, generator=generator, dtype=torch.float64)
    return first.requires_grad_(), second.requires_grad_()


def some_real(rows: int, steps: int) -> Tensor:
    """Return a mask with padding, a gap and a record without any real step."""
    at = torch.arange(steps)
    real = at < torch.tensor([steps, steps // 2 + 1, 1, 0] * rows)[:rows, None]
    real[0, steps // 3] = False
    return real


def softened(rows: list[Tensor], weights: list[list[float]], anchors: list[int]) -> list[Tensor]:
    """Return the loss of each anchor of one group, from the definition of a softmax."""
    losses = []
    for i in anchors:
        others = [j for j in range(len(rows)) if j != i]
        logs = torch.stack([rows[i] @ rows[j] for j in others]).log_softmax(0)
        kinds = torch.tensor([weights[i][j] for j in others], dtype=logs.dtype)
        losses.append(-(kinds * logs).sum())
    return losses


def reference(
    first: Tensor,
    second: Tensor,
    real: Tensor | None = None,
    instance: float = 0.5,
    records: Tensor | None = None,
    sharpness: float | None = None,
) -> Tensor:
    """The same loss, anchor by anchor."""
    real = torch.ones(first.shape[:2], dtype=torch.bool) if real is None else real
    total, scales = first.new_zeros(()), 0
    while True:
        size, steps, _ = first.shape
        by_record, by_step = [], []
        for t in range(steps):
            here = [b for b in range(size) if real[b, t]]
            rows = [z[b, t] for z in (first, second) for b in here]
            kinds = [[float(a == b) if records is None else float(records[a, b]) for b in here * 2]
                     for a in here * 2]  # fmt: skip
            by_record += softened(rows, kinds, list(range(len(rows))))
        for b in range(size):
            here = [t for t in range(steps) if real[b, t]]
            rows = [z[b, t] for z in (first, second) for t in here]
            kinds = [[float(s == t) if sharpness is None
                      else 2 / (1 + math.exp(sharpness * 2**scales * abs(s - t)))
                      for t in here * 2] for s in here * 2]  # fmt: skip
            by_step += softened(rows, kinds, list(range(len(rows))))
        if by_record:
            total = total + instance * torch.stack(by_record).mean()
            if steps > 1:
                total = total + (1 - instance) * torch.stack(by_step).mean()
        scales += 1
        if steps == 1:
            return total / scales
        pairs = steps // 2
        masked = [z.masked_fill(~real[..., None], -1e9)[:, : 2 * pairs] for z in (first, second)]
        real = real[:, : 2 * pairs].view(size, pairs, 2).any(2)
        first, second = (
            z.view(size, pairs, 2, -1).amax(2).masked_fill(~real[..., None], 0) for z in masked
        )


CASES: list[dict[str, Any]] = [
    {},
    {"instance": 0.0},
    {"instance": 1.0},
    {"sharpness": 0.7},
    {"soft": True},
    {"soft": True, "sharpness": 0.2, "instance": 0.3},
]


def options(case: dict[str, Any], rows: int) -> dict[str, Any]:
    values = torch.randn(rows, 2, 9, generator=torch.Generator().manual_seed(1))
    given = {key: value for key, value in case.items() if key != "soft"}
    return given | ({"records": record_weights(values, None, 2.0)} if "soft" in case else {})


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (1, 6), (3, 2), (4, 7), (2, 13)])
def test_equals_the_reference_and_its_gradient(
    rows: int, steps: int, case: dict[str, Any], masked: bool
) -> None:
    inputs = features(rows, steps)
    real = some_real(rows, steps) if masked else None
    given = options(case, rows)
    loss, expected = hierarchical(*inputs, real, **given), reference(*inputs, real, **given)
    torch.testing.assert_close(loss, expected)
    if loss.item() == 0 and not expected.requires_grad:
        return
    found = torch.autograd.grad(loss, inputs)
    slow = torch.autograd.grad(expected, inputs, allow_unused=True)
    for ours, theirs in zip(found, slow, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs)


def published(first: Tensor, second: Tensor) -> Tensor:
    """The form of the authors: triangles of whole matrices, log-softmax, means of positives."""

    def positives(z: Tensor) -> Tensor:
        half, at = z.shape[1] // 2, torch.arange(z.shape[1] // 2)
        s = z @ z.mT
        joined = s.tril(-1)[..., :-1] + s.triu(1)[..., 1:]
        losses = -joined.log_softmax(-1)
        return (losses[:, at, half + at - 1].mean() + losses[:, half + at, at].mean()) / 2

    total, scales = first.new_zeros(()), 1
    while first.shape[1] > 1:
        total = total + 0.5 * positives(torch.cat((first, second)).transpose(0, 1))
        total = total + 0.5 * positives(torch.cat((first, second), 1))
        first, second = (F.max_pool1d(z.mT, 2).mT for z in (first, second))
        scales += 1
    return (total + 0.5 * positives(torch.cat((first, second)).transpose(0, 1))) / scales


@pytest.mark.parametrize(("rows", "steps"), [(2, 31), (5, 64), (3, 300)])
def test_equals_the_published_form(rows: int, steps: int) -> None:
    inputs = features(rows, steps, 16)
    loss, expected = hierarchical(*inputs), published(*inputs)
    torch.testing.assert_close(loss, expected)
    found, slow = (torch.autograd.grad(value, inputs) for value in (loss, expected))
    torch.testing.assert_close(found, slow)


@pytest.mark.parametrize("keep", [0, 8192])
def test_tiles_of_a_long_group_equal_the_whole(monkeypatch: pytest.MonkeyPatch, keep: int) -> None:
    inputs, real = features(2, 330), some_real(2, 330)
    monkeypatch.setattr(group_lse, "_SMALL", 2000)
    whole = hierarchical(*inputs, real, sharpness=0.1)
    expected = torch.autograd.grad(whole, inputs)
    monkeypatch.setattr(group_lse, "_SMALL", 64)
    monkeypatch.setattr(group_tiles, "_KEEP_ROWS", keep)
    tiled = hierarchical(*inputs, real, sharpness=0.1)
    torch.testing.assert_close(tiled, whole)
    torch.testing.assert_close(torch.autograd.grad(tiled, inputs), expected)


@pytest.mark.parametrize("sharpness", [None, 0.3])
def test_gradcheck(sharpness: float | None) -> None:
    inputs, real = features(3, 5, 2), some_real(3, 5)
    records = record_weights(torch.randn(3, 1, 4, dtype=torch.float64), None, 1.0)
    assert torch.autograd.gradcheck(
        lambda a, b: hierarchical(a, b, real, records=records, sharpness=sharpness), inputs
    )


@pytest.mark.parametrize("anchors", [1, 3])
@pytest.mark.parametrize("sharpness", [None, 0.3])
@pytest.mark.parametrize("masked", [False, True])
def test_the_mean_over_all_draws_of_anchors_is_exact(
    monkeypatch: pytest.MonkeyPatch, masked: bool, sharpness: float | None, anchors: int
) -> None:
    inputs = features(3, 12)
    real = some_real(3, 12) if masked else None
    exact = hierarchical(*inputs, real, sharpness=sharpness)
    draws = []
    for turn in range(12):  # 12, 6 and 3 steps: every step is an anchor equally often
        monkeypatch.setattr(torch, "randperm", lambda n, device, k=turn: torch.arange(n).roll(k))
        draws.append(hierarchical(*inputs, real, anchors=anchors, sharpness=sharpness))
    mean = torch.stack(draws).mean()
    assert torch.stack(draws).std() > 0
    torch.testing.assert_close(mean, exact)
    torch.testing.assert_close(
        torch.autograd.grad(mean, inputs), torch.autograd.grad(exact, inputs)
    )


def test_as_many_anchors_as_steps_are_exact() -> None:
    inputs = features(3, 9)
    assert torch.equal(hierarchical(*inputs, anchors=9), hierarchical(*inputs))


def test_what_masked_steps_hold_reaches_neither_loss_nor_gradient() -> None:
    first, second = features(4, 7)
    real = some_real(4, 7)
    with torch.no_grad():
        spoilt = first.masked_fill(~real[..., None], float("nan")).requires_grad_()
    loss, clean = hierarchical(spoilt, second, real), hierarchical(first, second, real)
    assert torch.equal(loss, clean)
    (grad,) = torch.autograd.grad(loss, spoilt)
    assert torch.equal(grad, torch.autograd.grad(clean, first)[0])
    assert not grad[~real].any()


def test_equal_rows_and_one_step_give_the_log_of_the_others() -> None:
    zeros = torch.zeros(6, 1, 3)
    assert math.isclose(hierarchical(zeros, zeros, instance=1.0).item(), math.log(11), rel_tol=1e-6)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that is made."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.numel = max(self.numel, out.numel())
        return out


def test_no_matrix_of_all_steps_against_all_steps_is_made() -> None:
    steps = 300
    first, second = (x.float() for x in features(3, steps, 4))
    with Largest() as made:
        hierarchical(first.requires_grad_(), second).backward()
    assert made.numel <= 512 * 512 < (2 * steps) ** 2
    with Largest() as made:
        published(first, second).backward()
    assert made.numel >= 3 * (2 * steps) ** 2


@pytest.mark.parametrize("steps", [40, 300])
def test_large_features_and_a_broken_one_are_not_hidden(steps: int) -> None:
    first, second = features(2, steps, 16, scale=30.0)
    loss = hierarchical(first.float(), second.float())  # products of many thousands
    torch.testing.assert_close(loss.double(), hierarchical(first, second), rtol=1e-5, atol=0)
    with torch.no_grad():
        first[1, 2, 0] = float("nan")
    assert hierarchical(first, second).isnan()


def test_bfloat16_is_close_to_full_precision_and_closer_than_the_published_form() -> None:
    inputs = features(4, 300, 16, scale=0.3)
    halves = tuple(x.detach().bfloat16().requires_grad_() for x in inputs)
    exact = published(*(x.double() for x in halves))
    slow = torch.cat(torch.autograd.grad(exact, halves))  # of the same rounded input
    errors = []
    for form in (hierarchical, published):
        loss = form(*halves)
        grad = torch.cat(torch.autograd.grad(loss, halves))
        errors.append((abs(loss.double() - exact) / exact, (grad - slow).norm() / slow.norm()))
    assert hierarchical(*halves).dtype == torch.float32
    assert errors[0][0] < 0.002
    assert errors[0][1] < 0.01  # products of up to 2 are rounded to 8 bits
    assert errors[0][1] < errors[1][1]


def test_the_same_seed_draws_the_same_anchors_and_the_input_is_untouched() -> None:
    inputs = features(3, 20)
    losses = []
    for _ in range(2):
        torch.manual_seed(5)
        losses.append(hierarchical(*inputs, anchors=4))
    assert torch.equal(*losses)
    for x, before in zip(inputs, features(3, 20), strict=True):
        assert torch.equal(x, before)


def test_a_second_derivative_is_refused() -> None:
    inputs = features(2, 4)
    with pytest.raises(RuntimeError, match="hierarchical has no second derivative"):
        torch.autograd.grad(hierarchical(*inputs), inputs[0], create_graph=True)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3, 4), (2, 4, 4)), r"first is \(2, 3, 4\) and second is \(2, 4, 4\); both need"),
        (((2, 0, 4), (2, 0, 4)), r"first is \(2, 0, 4\) .* at least 1 of each"),
    ],
)
def test_shapes_that_do_not_fit_are_told(shapes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hierarchical(*(torch.zeros(shape) for shape in shapes))
    with pytest.raises(ValueError, match=r"real is \(2, 2\); it needs \(2, 3\)"):
        hierarchical(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.ones(2, 2).bool())
