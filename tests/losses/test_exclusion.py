"""False negatives: which pairs the rules take out, and what is told where facts are missing."""

import pytest
import torch
from plain_losses import facts, views

from seqcl.config.resolve import Faults, resolve_component
from seqcl.losses.base import Known
from seqcl.losses.codes import apart, dense
from seqcl.losses.exclusion import Exclusion
from seqcl.losses.margin import Margin
from seqcl.losses.nt_xent import NTXent, nt_xent
from seqcl.losses.supcon import SupCon
from seqcl.losses.triplet import Triplet


def test_unknown_codes_are_apart_from_all_others() -> None:
    codes = apart(torch.tensor([3, -1, 3, -1, -7], dtype=torch.int32))
    assert codes.tolist() == [3, -2, 3, -4, -5]
    assert dense(torch.tensor([9, -4, 9, 2, -4])).tolist() == [2, 0, 2, 1, 0]


def test_a_false_negative_has_no_say_in_value_or_gradient() -> None:
    (a, b), labels = views(6), torch.tensor([0, 0, 1, 2, 3, 4])
    exclusion = Exclusion((labels,))
    a.requires_grad_()
    loss = nt_xent(a, b, 0.2, exclusion=exclusion, anchors=slice(0, 1))
    (grad,) = torch.autograd.grad(loss, a)
    assert (grad[1] == 0).all()
    assert (grad[2:] != 0).all()
    moved = a.detach().clone()
    moved[1] = -moved[1]
    assert torch.equal(
        nt_xent(moved, b, 0.2, exclusion=exclusion, anchors=slice(0, 1)), loss.detach()
    )


def test_the_positive_is_never_excluded() -> None:
    loss = NTXent(exclude_above=0.5, exclude=("label",), temperature=0.2)
    eye = torch.eye(6, dtype=torch.float64)
    # Positives of cosine 1 stay, though they are above the threshold and of one label.
    found = loss(eye, eye, Known(labels=torch.arange(6)))
    torch.testing.assert_close(found, nt_xent(eye, eye, 0.2))


def test_records_in_time_are_excluded_below_the_distance_and_in_their_recording_alone() -> None:
    (a, b), known = (
        views(4),
        Known(recordings=torch.tensor([0, 0, 0, 1]), start=torch.tensor([0, 5, 9, 0])),
    )
    found = NTXent(exclude_steps=5, temperature=0.2)(a, b, known)
    # Of the six pairs only 5 and 9, four apart, are near; 0 and 5 are not below five apart.
    by_hand = nt_xent(a, b, 0.2, exclusion=Exclusion((torch.tensor([0, 1, 1, 2]),)))
    torch.testing.assert_close(found, by_hand)


def test_copies_of_a_record_are_no_negatives_whatever_the_options() -> None:
    (a, b), records = views(6), torch.tensor([7, 3, 7, 900, 3, 12])
    by_hand = nt_xent(a, b, 0.2, exclusion=Exclusion((records,)))
    assert by_hand != nt_xent(a, b, 0.2)
    for loss in (NTXent(temperature=0.2), NTXent(temperature=0.2, exclude=("label",))):
        known = Known(labels=torch.full((6,), -1), records=records)
        torch.testing.assert_close(loss(a, b, known), by_hand)
    # Losses whose positives are told take them for positives.
    torch.testing.assert_close(
        Triplet()(a, b, Known(records=records)),
        Triplet(positives="label")(a, b, Known(labels=records)),
    )


def test_copies_of_an_unlabelled_record_are_no_negatives_either() -> None:
    (a, b), records = views(6), torch.tensor([7, 3, 7, 900, 3, 12])
    labels = torch.tensor([-1, 2, -1, 2, 2, -1])
    named = Known(labels=torch.tensor([9, 2, 9, 2, 2, 5]))
    for loss in (SupCon(), Triplet(positives="label"), Margin(positives="label")):
        found = loss(a, b, Known(labels=labels, records=records))
        torch.testing.assert_close(found, loss(a, b, named))
        assert found != loss(a, b, Known(labels=labels))


def test_needs_follow_from_the_options() -> None:
    assert NTXent().needs == frozenset()
    assert NTXent(exclude=("label",)).needs == {"labels"}
    assert NTXent(exclude_steps=3).needs == {"recordings"}
    assert NTXent(exclude=("label", "group"), exclude_above=0.9).needs == {"labels", "groups"}
    assert NTXent(exclude_above=0.9).needs == frozenset()


def test_what_is_not_known_is_told() -> None:
    a, b = views(4)
    with pytest.raises(ValueError, match="NTXent: exclude needs the groups of the records"):
        NTXent(exclude=("group",))(a, b)
    with pytest.raises(ValueError, match="NTXent: exclude_steps needs the start of the records"):
        NTXent(exclude_steps=5)(a, b, Known(recordings=torch.zeros(4).long()))


def test_codes_that_are_not_one_a_record_are_told() -> None:
    message = r"exclusion: codes are \(3,\) torch.int64; one whole number for each of the 4 records"
    with pytest.raises(ValueError, match=message):
        NTXent(exclude=("label",))(*views(4), Known(labels=torch.arange(3)))


def test_a_preset_can_write_it() -> None:
    faults = Faults()
    node = {"nt_xent": {"exclude": ["label", "group"], "exclude_steps": 20, "exclude_above": 0.9}}
    spec = resolve_component("losses", node, "method.loss", faults)
    assert faults.messages() == []
    assert spec is not None
    assert spec.build()(*views(7), facts(7)).isfinite()
    resolve_component("losses", {"dcl": {"exclude": ["colour"]}}, "method.loss", faults)
    assert "exclude" in faults.messages()[0]
