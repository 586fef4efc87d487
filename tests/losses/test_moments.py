"""Losses of the moments of a batch: closed forms, constant features, messages."""

import pytest
import torch
from plain_losses import draw, views

from seqcl.losses.barlow_twins import BarlowTwins, barlow_twins
from seqcl.losses.base import PairLoss
from seqcl.losses.moments import diagonal_and_rest
from seqcl.losses.vicreg import VICReg, vicreg


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_matrix_is_its_diagonal_and_the_rest(size: int) -> None:
    matrix = draw(size, size)
    diagonal, rest = diagonal_and_rest(matrix)
    assert torch.equal(diagonal, torch.stack([matrix[i, i] for i in range(size)]))
    off = [matrix[i, j].item() for i in range(size) for j in range(size) if i != j]
    assert sorted(rest.flatten().tolist()) == sorted(off)


def orthogonal(rows: int, dim: int) -> torch.Tensor:
    """Return uncorrelated features of mean 0 and variance 1 (of a sample: N - 1)."""
    x = draw(rows, dim + 1)
    x[:, 0] = 1
    q, _ = torch.linalg.qr(x)
    return q[:, 1:] * (rows - 1) ** 0.5


def test_equal_views_of_uncorrelated_features_cost_nothing() -> None:
    x = orthogonal(40, 6)
    assert barlow_twins(x, x, 0.5).item() == pytest.approx(0, abs=1e-8)  # the floor of variances
    assert vicreg(x, x).item() == pytest.approx(0, abs=1e-12)


def test_opposite_views_of_uncorrelated_features_have_a_known_cost() -> None:
    x = orthogonal(40, 6)
    assert barlow_twins(x, -x, 0.5).item() == pytest.approx(4 * 6, rel=1e-4)
    assert vicreg(x, -x, invariance=2).item() == pytest.approx(2 * 4 * 39 / 40, rel=1e-9)


def test_constant_embeddings_have_a_known_cost_and_a_finite_gradient() -> None:
    a = torch.ones(8, 5, dtype=torch.float64, requires_grad=True)
    assert barlow_twins(a, a, 0.1).item() == 5
    assert vicreg(a, a).item() == pytest.approx(2 * 25 * 0.99, rel=1e-9)
    for loss in (BarlowTwins(), VICReg()):
        (grad,) = torch.autograd.grad(loss(a, a), a)
        assert grad.isfinite().all()


def test_barlow_twins_does_not_see_scale_or_offset_of_a_feature() -> None:
    a, b = views(50)
    moved = a * torch.tensor([1e3, 2, 30, 4, 5.0]) + torch.tensor([0, 1, -2, 3, 100.0])
    expected = barlow_twins(a, b, 0.3).item()
    assert barlow_twins(moved, b, 0.3).item() == pytest.approx(expected, rel=1e-4)


def test_vicreg_has_no_variance_cost_above_one() -> None:
    a = 3 * orthogonal(40, 6)
    assert vicreg(a, a, covariance=0).item() == 0
    assert vicreg(a / 6, a / 6, covariance=0).item() == pytest.approx(2 * 25 * 0.5, rel=1e-3)


@pytest.mark.parametrize("loss", [BarlowTwins(), VICReg()])
def test_one_record_is_told(loss: PairLoss) -> None:
    with pytest.raises(ValueError, match="1 records have no variance; at least 2 are needed"):
        loss(draw(1), draw(1))
