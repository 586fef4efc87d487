"""The debiased and the hard-negative loss: closed forms, limits, messages."""

import math

import pytest
import torch
from plain_losses import views

from seqcl.losses.debiased import debiased
from seqcl.losses.hard_negative import hard_negative
from seqcl.losses.nt_xent import nt_xent


@pytest.mark.parametrize("tau_plus", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_equal_rows_give_the_logarithm_of_all_others(beta: float, tau_plus: float) -> None:
    for n in (2, 300):
        a = torch.ones(n, 5)
        loss = hard_negative(a, a, 0.5, beta=beta, tau_plus=tau_plus)
        assert loss.item() == pytest.approx(math.log(2 * n - 1), rel=1e-5)


def test_without_false_negatives_debiased_is_nt_xent() -> None:
    a, b = views(9)
    torch.testing.assert_close(debiased(a, b, 0.3, tau_plus=0), nt_xent(a, b, 0.3))


def test_without_concentration_the_hard_negative_loss_is_the_debiased_one() -> None:
    a, b = views(9)
    torch.testing.assert_close(hard_negative(a, b, 0.3, beta=0), debiased(a, b, 0.3))
    torch.testing.assert_close(hard_negative(a, b, 0.3, beta=1e-7), debiased(a, b, 0.3))


def test_below_the_floor_the_negatives_sum_to_the_least_they_can() -> None:
    eye = torch.eye(6, dtype=torch.float64)  # 10 negatives of score 0, positives of e^2
    loss = debiased(eye, eye, 0.5, tau_plus=0.5)
    assert loss.item() == pytest.approx(math.log1p(10 * math.exp(-4)), rel=1e-12)


def test_harder_negatives_weigh_more() -> None:
    a, b = views(12)
    losses = [hard_negative(a, b, 0.3, beta=beta) for beta in (0.0, 0.5, 1.0, 4.0)]
    assert losses == sorted(losses)


@pytest.mark.parametrize("temperature", [0.01, 0.03])
def test_a_tiny_temperature_overflows_nothing(temperature: float) -> None:
    a, b = (x.float().requires_grad_() for x in views(40))
    for loss in (debiased(a, b, temperature), hard_negative(a, b, temperature, beta=3)):
        assert loss.isfinite()
        for grad in torch.autograd.grad(loss, (a, b)):
            assert grad.isfinite().all()


def test_messages_name_the_loss() -> None:
    for name, loss in (("debiased", debiased), ("hard_negative", hard_negative)):
        with pytest.raises(ValueError, match=f"{name}: 1 records have no negatives"):
            loss(torch.ones(1, 5), torch.ones(1, 5), 0.1)
        with pytest.raises(ValueError, match=f"{name}: temperature is nan"):
            loss(torch.ones(4, 5), torch.ones(4, 5), math.nan)
