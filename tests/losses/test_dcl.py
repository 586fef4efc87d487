"""The decoupled loss: closed forms and what its weights are."""

import math

import pytest
import torch
from plain_losses import views

from seqcl.losses.dcl import DCL, dcl


def test_equal_rows_give_the_logarithm_of_all_but_the_pair() -> None:
    for n in (2, 9, 300):
        a = torch.ones(n, 5)
        assert dcl(a, 3 * a, 0.1).item() == pytest.approx(math.log(2 * n - 2), rel=1e-5)


def test_perfect_pairs_that_are_orthogonal_to_all_others_have_a_closed_form() -> None:
    eye = torch.eye(6, dtype=torch.float64)
    assert dcl(eye, eye, 0.5).item() == pytest.approx(math.log(10) - 1 / 0.5, rel=1e-12)


def test_pairs_that_are_alike_all_weigh_one() -> None:
    eye = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(dcl(eye, eye, 0.5, sigma=0.3), dcl(eye, eye, 0.5))


def test_a_hard_positive_is_pulled_more_and_an_easy_one_less() -> None:
    a = torch.eye(4, dtype=torch.float64)
    b = a.clone()
    b[0, 1] = 2.0  # a hard positive, of cosine 0.45

    def pull(sigma: float | None) -> torch.Tensor:
        x = a.clone().requires_grad_()
        dcl(x, b, 0.5, sigma=sigma).backward()
        assert x.grad is not None
        return x.grad.norm(dim=1)

    assert pull(0.5)[0] > 1.05 * pull(None)[0]
    assert torch.equal(
        DCL(weighted=True, sigma=0.5, temperature=0.5)(a, b), dcl(a, b, 0.5, sigma=0.5)
    )


def test_the_weights_are_constants_to_the_gradient() -> None:
    a, b = (x.requires_grad_() for x in views(5))
    cosines = torch.cosine_similarity(a, b)
    weights = 2 - 5 * (cosines / 0.4).softmax(0).detach()
    pulls = ((1 - weights) * cosines).mean() / 0.3
    expected = torch.autograd.grad(dcl(a, b, 0.3) + pulls, (a, b))
    found = torch.autograd.grad(dcl(a, b, 0.3, sigma=0.4), (a, b))
    for ours, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, exact)


def test_messages_name_the_loss() -> None:
    with pytest.raises(ValueError, match=r"dcl: a is \(4, 5\) and b is \(3, 5\)"):
        dcl(torch.ones(4, 5), torch.ones(3, 5), 0.1)
    with pytest.raises(ValueError, match="dcl: temperature is -1"):
        dcl(torch.ones(4, 5), torch.ones(4, 5), -1)
