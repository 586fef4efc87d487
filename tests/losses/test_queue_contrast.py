"""MoCo's contrast with a queue against plain Python, and cosine regression."""

import math

import pytest
import torch
from plain_losses import cosine as plain_cosine
from plain_losses import draw, views
from torch import Tensor
from torch.autograd import gradcheck

from seqcl.losses.queue_contrast import queue_contrast
from seqcl.losses.regression import cosine


def slow(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> float:
    """Write the equation out in plain Python."""
    total = 0.0
    for q, k in zip(queries.tolist(), keys.tolist(), strict=True):
        positive = plain_cosine(q, k) / temperature
        scores = [positive, *(plain_cosine(q, row) / temperature for row in queue.tolist())]
        total += math.log(math.fsum(math.exp(score) for score in scores)) - positive
    return total / len(queries)


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("size", [1, 5, 17])
def test_equals_plain_python(size: int, temperature: float, small_tiles: int) -> None:
    (q, k), queue = views(9), draw(size, seed=5)
    expected = slow(q, k, queue, temperature)
    assert queue_contrast(q, k, queue, temperature).item() == pytest.approx(expected, rel=1e-12)


def test_equal_rows_give_the_log_of_the_candidates() -> None:
    rows = torch.ones(6, 4, dtype=torch.float64)
    value = queue_contrast(rows, rows, torch.ones(20, 4, dtype=torch.float64), 0.1)
    assert value.item() == pytest.approx(math.log(21), rel=1e-12)


def test_the_gradient_is_exact_and_the_queue_has_none(small_tiles: int) -> None:
    q, k = (x.requires_grad_() for x in views(7, 3))
    queue = draw(13, 3, seed=4).requires_grad_()
    assert gradcheck(lambda q, k: queue_contrast(q, k, queue, 0.3), (q, k))
    queue_contrast(q, k, queue, 0.3).backward()
    assert queue.grad is None


def test_zero_rows_are_finite() -> None:
    q, k = views(4)
    q[1] = k[2] = 0
    q.requires_grad_()
    queue_contrast(q, k, torch.zeros(3, 5, dtype=torch.float64), 0.1).backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()
    assert (q.grad[1] == 0).all()


def test_cosine_is_the_mean_over_rows_and_stops_at_the_target() -> None:
    a, b = (x.requires_grad_() for x in views(6))
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    expected = sum(plain_cosine(p, q) for p, q in pairs) / 6
    value = cosine(a, b)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    value.backward()
    assert b.grad is None
    assert gradcheck(lambda a: cosine(a, b), (a,))
    zeros = torch.zeros(6, 5, dtype=torch.float64)
    assert cosine(zeros, b) == 0
