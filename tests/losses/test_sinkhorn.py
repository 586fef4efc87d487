"""Balanced assignments against the plain iteration, and what they are in closed form."""

import math

import pytest
import torch
from plain_losses import draw
from torch import Tensor

from seqcl.losses.sinkhorn import sinkhorn


def slow(scores: Tensor, epsilon: float, iterations: int) -> list[list[float]]:
    """Scale columns, then rows, of exp(scores / epsilon)."""
    table = [[math.exp(value / epsilon) for value in row] for row in scores.tolist()]
    n, p = len(table), len(table[0])
    for _ in range(iterations):
        for j in range(p):
            total = math.fsum(table[i][j] for i in range(n))
            for i in range(n):
                table[i][j] *= n / p / total
        table = [[value / math.fsum(row) for value in row] for row in table]
    return table


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("shape", [(5, 3), (3, 8), (1, 4)])
def test_equals_the_plain_iteration(shape: tuple[int, int], iterations: int) -> None:
    scores = draw(*shape)
    expected = torch.tensor(slow(scores, 0.5, iterations), dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores, 0.5, iterations), expected, rtol=1e-12, atol=1e-15)


def test_rows_sum_to_one_and_columns_become_equal() -> None:
    codes = sinkhorn(draw(60, 6), 0.3, 200)
    torch.testing.assert_close(codes.sum(1), torch.ones(60, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((6,), 10.0, dtype=torch.float64))


def test_equal_scores_are_shared_evenly() -> None:
    assert torch.allclose(sinkhorn(torch.ones(7, 4), 0.05, 3), torch.full((7, 4), 0.25))


def test_a_small_epsilon_does_not_overflow_and_half_precision_is_lifted() -> None:
    codes = sinkhorn(torch.eye(4).bfloat16(), 1e-4, 3)
    assert torch.equal(codes, torch.eye(4))


def test_it_has_no_gradient() -> None:
    assert not sinkhorn(draw(4, 3).requires_grad_(), 0.1, 2).requires_grad
