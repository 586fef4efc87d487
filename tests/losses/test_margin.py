"""The loss with a margin: closed forms in both metrics, close rows, unequal classes, messages."""

import math

import pytest
import torch
from plain_losses import views

from seqcl.losses.base import Known
from seqcl.losses.margin import Margin, margin_loss


def test_orthogonal_pairs_have_a_closed_form_in_each_metric() -> None:
    eye = torch.eye(5, dtype=torch.float64)
    euclid = margin_loss(eye, eye, margin=2.0)
    assert euclid.item() == pytest.approx((2 - math.sqrt(2)) ** 2 / 2, rel=1e-12)
    cosine = margin_loss(7 * eye, eye, margin=1.5, metric="cosine")
    assert cosine.item() == pytest.approx(0.5**2 / 2, rel=1e-12)


def test_negatives_beyond_the_margin_cost_nothing() -> None:
    eye = torch.eye(5, dtype=torch.float64).requires_grad_()
    loss = margin_loss(eye, eye.detach(), margin=1.0)
    (grad,) = torch.autograd.grad(loss, eye)
    assert loss == 0
    assert (grad == 0).all()


@pytest.mark.parametrize("labels", [None, torch.arange(32) // 4])
def test_an_offset_that_all_rows_share_costs_no_digit(labels: torch.Tensor | None) -> None:
    a, b = (0.05 * x.float() for x in views(32))
    grads, losses = [], []
    for offset in (0.0, 128.0):
        shifted = (a + offset).requires_grad_()
        loss = margin_loss(shifted, b + offset, labels=labels)
        grads.append(torch.autograd.grad(loss, shifted)[0])
        losses.append(loss)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=0)
    assert (grads[0] - grads[1]).norm() < 1e-2 * grads[0].norm()


def test_equal_rows_pay_the_whole_margin_and_get_no_gradient() -> None:
    a = torch.ones(6, 4, requires_grad=True)
    loss = margin_loss(a, a.detach(), margin=1.0)
    (grad,) = torch.autograd.grad(loss, a)
    assert loss.item() == pytest.approx(0.5, abs=1e-3)
    assert grad.norm() == 0  # there is no direction in which to leave


def test_one_class_of_all_records_has_positives_alone() -> None:
    a, b = views(6)
    z = torch.cat([a, b])
    expected = torch.cdist(z, z).square().sum() / (12 * 11) / 2
    for metric, value in (("euclidean", expected), ("cosine", None)):
        loss = margin_loss(a, b, metric=metric, labels=torch.zeros(6).long())  # type: ignore[arg-type]
        assert loss.isfinite()
        assert value is None or loss.item() == pytest.approx(value.item(), rel=1e-10)


def test_labels_are_left_alone_where_the_other_view_is_the_positive() -> None:
    a, b = views(6)
    known = Known(labels=torch.tensor([0, 0, 0, 1, 1, 1]))
    by_label = Margin(positives="label")
    assert Margin().needs == frozenset()
    assert by_label.needs == by_label.together == {"labels"}
    assert torch.equal(Margin()(a, b, known), margin_loss(a, b))
    assert by_label(a, b, known) != margin_loss(a, b)
    torch.testing.assert_close(
        by_label(a, b, Known(labels=-torch.ones(6).long())), margin_loss(a, b)
    )


def test_labels_of_the_wrong_shape_and_a_temperature_are_told() -> None:
    a, b = views(4)
    message = r"margin: labels are \(3,\) torch.int64; one whole number for each of the 4 records"
    with pytest.raises(ValueError, match=message):
        margin_loss(a, b, labels=torch.zeros(3).long())
    with pytest.raises(ValueError, match="margin has no temperature"):
        Margin()(a, b, Known(temperature=torch.tensor(0.1)))
