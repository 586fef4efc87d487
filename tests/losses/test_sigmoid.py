"""The sigmoid loss: closed forms, torch's own binary cross-entropy, messages."""

import math

import pytest
import torch
from plain_losses import views
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from seqcl.losses.sigmoid import sigmoid


def test_orthogonal_pairs_have_a_closed_form() -> None:
    eye = torch.eye(6, dtype=torch.float64)
    expected = math.log1p(math.exp(-2 + 1)) + 5 * math.log1p(math.exp(-1))
    assert sigmoid(eye, 3 * eye, 0.5, bias=-1).item() == pytest.approx(expected, rel=1e-12)


def test_scores_of_zero_cost_log_two_a_pair() -> None:
    zeros = torch.zeros(7, 3, requires_grad=True)
    assert sigmoid(zeros, zeros, 0.1, bias=0).item() == pytest.approx(7 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("n", [5, 600])
def test_is_binary_cross_entropy_over_all_pairs(n: int) -> None:
    a, b = (x.requires_grad_() for x in views(n))
    scores = normalize(a) @ normalize(b).T / 0.2 - 3
    expected = binary_cross_entropy_with_logits(scores, torch.eye(n).double(), reduction="sum") / n
    loss = sigmoid(a, b, 0.2, bias=-3)
    torch.testing.assert_close(loss, expected)
    for ours, exact in zip(
        torch.autograd.grad(loss, (a, b)), torch.autograd.grad(expected, (a, b)), strict=True
    ):
        assert (ours - exact).norm() < 1e-10 * exact.norm()


def test_the_anchors_of_parts_add_up() -> None:
    a, b = views(12)
    parts = [sigmoid(a, b, 0.1, anchors=slice(i, i + 4)) for i in (0, 4, 8)]
    torch.testing.assert_close(torch.stack(parts).mean(), sigmoid(a, b, 0.1))


def test_messages_name_the_loss() -> None:
    with pytest.raises(ValueError, match="sigmoid: temperature is 0.0"):
        sigmoid(torch.ones(4, 5), torch.ones(4, 5), 0.0)
