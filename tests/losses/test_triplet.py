"""Triplets: closed forms, which of them count, ties, messages."""

import math

import pytest
import torch
from plain_losses import views

from seqcl.losses.base import Known
from seqcl.losses.triplet import Triplet, triplet

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 2, -1])


@pytest.mark.parametrize("labels", [None, torch.arange(5)])
@pytest.mark.parametrize("mining", ["all", "semi_hard", "hard"])
def test_orthogonal_pairs_have_a_closed_form(mining: str, labels: torch.Tensor | None) -> None:
    eye = torch.eye(5, dtype=torch.float64)
    loss = triplet(eye, eye, margin=1.3, mining=mining, labels=labels)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(0.3, rel=1e-12)


def test_the_soft_margin_never_ends() -> None:
    eye = torch.eye(5, dtype=torch.float64)
    loss = triplet(eye, eye, mining="hard", soft=True)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)), rel=1e-12)


@pytest.mark.parametrize("labels", [None, torch.arange(5), torch.zeros(5).long()])
@pytest.mark.parametrize("mining", ["all", "semi_hard", "hard"])
def test_no_triplet_gives_zero_and_no_gradient(mining: str, labels: torch.Tensor | None) -> None:
    eye = torch.eye(5, dtype=torch.float64).requires_grad_()
    loss = triplet(eye, eye.detach(), margin=0.9, mining=mining, labels=labels)  # type: ignore[arg-type]
    (grad,) = torch.autograd.grad(loss, eye)
    assert loss == 0
    assert (grad == 0).all()


def test_a_negative_nearer_than_the_positive_is_not_semi_hard() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    b = a.flip(0)  # each record's other view is where the other record is
    assert triplet(a, b, margin=0.5, mining="semi_hard") == 0
    # Of the two negatives one lies on the anchor and one as far as the positive.
    assert triplet(a, b, margin=0.5, mining="all").item() == pytest.approx((1.5 + 0.5) / 2)
    assert triplet(a, b, margin=0.5, mining="hard").item() == pytest.approx(1.5)


def test_the_mean_is_over_what_counts_and_not_over_all_triplets() -> None:
    a = torch.eye(40, dtype=torch.float64)
    b = a.clone()
    b[0, 1] = 1.0  # record 0's second view leans towards record 1
    found = triplet(a, b, margin=0.5, mining="all")
    # cos(b0, a1) = cos(b0, b1) = cos(b0, a0): each of the six triplets that cost something.
    side = math.sqrt(0.5)
    costs = [0.5, 0.5, 0.5 + side - 1, 0.5 + side - 1]
    assert found.item() == pytest.approx(sum(costs) / len(costs), rel=1e-12)


@pytest.mark.parametrize("mining", ["all", "semi_hard", "hard"])
def test_labels_that_name_records_are_the_views(mining: str) -> None:
    a, b = views(9)
    by_view = triplet(a, b, margin=0.5, mining=mining)  # type: ignore[arg-type]
    for labels in (torch.arange(9) * 7, -torch.ones(9).long()):
        by_label = triplet(a, b, margin=0.5, mining=mining, labels=labels)  # type: ignore[arg-type]
        torch.testing.assert_close(by_label, by_view)


def test_labels_are_left_alone_where_the_other_view_is_the_positive() -> None:
    (a, b), known = views(8), Known(labels=LABELS)
    loss, by_label = Triplet(margin=0.5), Triplet(positives="label", margin=0.5)
    assert (loss.needs, by_label.needs) == (frozenset(), {"labels"})
    assert torch.equal(loss(a, b, known), triplet(a, b, margin=0.5))
    assert by_label(a, b, known) != loss(a, b, known)


def test_soft_with_other_mining_is_told() -> None:
    message = (
        "triplet: soft has no margin by which to choose semi_hard triplets; set mining to hard"
    )
    with pytest.raises(ValueError, match=message):
        Triplet(soft=True)
    with pytest.raises(ValueError, match=message):
        triplet(*views(3), soft=True)


def test_a_temperature_is_refused() -> None:
    with pytest.raises(ValueError, match="triplet has no temperature"):
        Triplet()(*views(4), Known(labels=torch.arange(4), temperature=torch.tensor(0.1)))
