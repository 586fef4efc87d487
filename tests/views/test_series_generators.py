"""Weak and strong views, stretches of stretches, windows near and far: what sets each apart."""

from __future__ import annotations

import pytest
import torch
from record_batches import ragged, ramp

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.frontend import IdentityFrontend
from seqcl.views.neighbourhood import Neighbourhood
from seqcl.views.sub_series import SubSeries
from seqcl.views.weak_strong import WeakStrong

SAME = IdentityFrontend(1)


def test_each_side_has_its_own_augmentations_and_both_have_the_common_ones():
    def times(factor: float) -> Spec:
        return Spec("augmentations", "scale", {"factor": (factor, factor)})

    generator = WeakStrong(weak=(times(3),), strong=(times(5), times(7)), before=(times(2),))
    weak, strong = generator(ramp(), SAME, Rng(0))
    assert torch.equal(weak.values, ramp().values * 6)
    assert torch.equal(strong.values, ramp().values * 70)


def test_nothing_weak_leaves_the_record_as_it_is():
    first, second = WeakStrong(strong=(Spec("augmentations", "jitter"),))(ramp(), SAME, Rng(0))
    assert torch.equal(first.values, ramp().values)
    assert not torch.equal(second.values, first.values)


def test_the_positive_lies_inside_the_anchor():
    lengths = set()
    for key in range(60):
        anchor, positive = SubSeries(shortest=0.2)(ramp(40), SAME, Rng(key))
        outer, inner = anchor.values.shape[2], positive.values.shape[2]
        assert 12 <= inner <= outer <= 60
        assert (positive.start >= anchor.start).all()
        assert (positive.start + inner <= anchor.start + outer).all()
        assert torch.equal(positive.values[:, 0, 0], positive.start.float())
        lengths.add(inner)
    assert len(lengths) > 20


def test_places_differ_from_record_to_record():
    for key in range(20):
        anchor, positive = SubSeries()(ramp(40), SAME, Rng(key))
        if anchor.values.shape[2] < 50:
            assert anchor.start.unique().numel() > 3
        if anchor.values.shape[2] - positive.values.shape[2] > 10:
            assert (positive.start - anchor.start).unique().numel() > 3


def test_stretches_of_short_records_stay_within_them():
    batch = ragged()
    for key in range(40):
        anchor, positive = SubSeries()(batch, SAME, Rng(key))
        assert (anchor.start + anchor.lengths <= batch.lengths).all()
        assert (positive.start >= anchor.start).all()
        assert (positive.start + positive.lengths <= anchor.start + anchor.lengths).all()


def test_the_neighbour_is_nearer_than_the_far_window_which_does_not_overlap():
    generator = Neighbourhood(window=0.2, near=0.5, far=1.0)
    anchor, near, far = generator(ramp(3000), SAME, Rng(0))
    assert anchor.values.shape[2] == near.values.shape[2] == far.values.shape[2] == 12
    assert (near.start - anchor.start).abs().max() == 11
    distance = (far.start - anchor.start).abs()
    assert distance.min() == 12
    assert distance.max() == 48
    for view in (anchor, near, far):
        assert view.start.min() == 0
        assert view.start.max() == 48
    # A normal distance of deviation 6, cut at 11 and at the ends
    assert 4 < (near.start - anchor.start).float().std() < 6.5


def test_far_windows_are_uniform_over_all_that_are_far():
    generator = Neighbourhood(window=0.2, near=0.1, far=1.0)
    anchor, _, far = generator(ramp(20_000), SAME, Rng(1))
    for start in (0, 20, 40):
        own = far.start[anchor.start == start]
        allowed = [s for s in range(49) if abs(s - start) >= 12]
        assert set(own.tolist()) <= set(allowed)
        expected = sum(allowed) / len(allowed)
        assert abs(own.float().mean() - expected) < 4 * 20 / len(own) ** 0.5


def test_windows_of_short_records_stay_within_them():
    batch = ragged()
    for key in range(30):
        for view in Neighbourhood()(batch, SAME, Rng(key)):
            assert (view.start >= 0).all()
            assert (view.start + view.lengths <= batch.lengths).all()


def test_recordings_no_longer_than_the_window_are_refused():
    with pytest.raises(ValueError, match=r"window is 0.5 and far 1.0, so a record needs 3 windows"):
        Neighbourhood(window=0.5)
    one = Batch(torch.ones(2, 1, 1), torch.arange(2))
    with pytest.raises(ValueError, match="recordings must be longer than the window: raise data.w"):
        Neighbourhood()(one, SAME, Rng(0))


@pytest.mark.parametrize(
    ("component", "option", "value"),
    [
        (SubSeries, "shortest", 0.0),
        (SubSeries, "shortest", 1.1),
        (Neighbourhood, "window", 1.0),
        (Neighbourhood, "near", -0.1),
        (Neighbourhood, "far", 0.0),
    ],
)
def test_options_out_of_range_are_refused(refused, component, option, value):
    assert refused(component, option, value)
