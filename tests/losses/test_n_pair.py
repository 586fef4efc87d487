"""The N-pair loss: a closed form, and what length does to it."""

import math

import pytest
import torch
from plain_losses import draw, views

from seqcl.losses.base import Known
from seqcl.losses.info_nce import info_nce
from seqcl.losses.n_pair import NPair, n_pair


def test_orthogonal_pairs_of_one_length_have_a_closed_form() -> None:
    rows = 1.5 * torch.eye(6, dtype=torch.float64)
    expected = math.log1p(5 * math.exp(-2.25)) + 0.01 * 2.25
    assert n_pair(rows, rows, l2=0.01).item() == pytest.approx(expected, rel=1e-12)


def test_unit_rows_give_one_sided_info_nce_at_temperature_one() -> None:
    a, b = (torch.nn.functional.normalize(x) for x in views(9))
    torch.testing.assert_close(n_pair(a, b, l2=0), info_nce(a, b, 1.0, symmetric=False))


def test_long_rows_do_not_overflow() -> None:
    a, b = (100 * draw(20, seed=seed, dtype=torch.float32).requires_grad_() for seed in (0, 1))
    loss = n_pair(a, b)
    assert loss.isfinite()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, (a, b)))


def test_a_temperature_is_refused() -> None:
    known = Known(temperature=torch.tensor(0.1))
    with pytest.raises(ValueError, match="n_pair has no temperature to learn or to schedule"):
        NPair()(*views(4), known)
