"""SupCon: closed forms, its border to NT-Xent, messages."""

import math

import pytest
import torch
from plain_losses import views

from seqcl.losses.base import Known
from seqcl.losses.nt_xent import nt_xent
from seqcl.losses.supcon import SupCon, supcon


def test_without_labels_it_is_nt_xent() -> None:
    a, b = views(9)
    assert torch.equal(supcon(a, b, 0.1), nt_xent(a, b, 0.1))
    assert torch.equal(SupCon()(a, b), nt_xent(a, b, 0.1))


def test_unknown_labels_and_labels_of_one_record_are_nt_xent_to_the_last_digits() -> None:
    a, b = views(9)
    for labels in (-torch.ones(9).long(), torch.arange(9), torch.tensor([-1, 3] + [-1] * 7)):
        # The class sums subtract the anchor itself again.
        torch.testing.assert_close(supcon(a, b, 0.1, labels=labels), nt_xent(a, b, 0.1))


def test_equal_rows_give_the_logarithm_of_all_others() -> None:
    for n in (2, 9, 300):
        a = torch.ones(n, 5)
        labels = torch.arange(n) % 3
        loss = supcon(a, 3 * a, 0.1, labels=labels)
        assert loss.item() == pytest.approx(math.log(2 * n - 1), rel=1e-5)


def test_classes_that_are_points_at_right_angles_have_a_closed_form() -> None:
    rows = torch.eye(3, dtype=torch.float64).repeat_interleave(4, 0)
    labels = torch.tensor([5, 5, 5, 5, 0, 0, 0, 0, 9, 9, 9, 9])
    # Seven others of the class at 1 / 0.5, sixteen at 0.
    expected = math.log(7 * math.exp(2) + 16) - 2
    assert supcon(rows, rows, 0.5, labels=labels).item() == pytest.approx(expected, rel=1e-12)


def test_labels_draw_a_class_together() -> None:
    a, b = (x.requires_grad_() for x in views(6))
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    for _ in range(200):
        grads = torch.autograd.grad(supcon(a, b, 0.2, labels=labels), (a, b))
        a, b = ((x - 0.5 * g).detach().requires_grad_() for x, g in zip((a, b), grads, strict=True))
    z = torch.nn.functional.normalize(a)
    cosines = z @ z.T
    same = labels[:, None] == labels
    assert cosines[same].min() > cosines[~same].max()


@pytest.mark.parametrize(
    "labels", [torch.zeros(5).long(), torch.zeros(4), torch.zeros(4, 2).long()]
)
def test_labels_that_are_no_codes_are_told(labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="supcon: labels are .* one whole number for each of"):
        supcon(*views(4), 0.1, labels=labels)


def test_needs_labels() -> None:
    assert SupCon().needs == {"labels"}
    a, b = views(6)
    labels = torch.tensor([0, 0, 1, 1, -1, 2])
    known = Known(labels=labels, temperature=torch.tensor(0.4))
    torch.testing.assert_close(
        SupCon()(a, b, known), supcon(a, b, 0.4, labels=labels), rtol=1e-7, atol=0
    )
