"""Independent, overlapping, multi-crop and neighbouring views: what sets each apart."""

from __future__ import annotations

import pytest
import torch
from record_batches import ragged, ramp

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Frontend
from seqcl.views.frontend import IdentityFrontend
from seqcl.views.independent import Independent
from seqcl.views.multi_crop import MultiCrop
from seqcl.views.neighbours import Neighbours
from seqcl.views.overlapping import Overlapping

JITTER, CROP = Spec("augmentations", "jitter"), Spec("augmentations", "crop")
SAME = IdentityFrontend(1)


class Counting(Frontend):
    calls = 0

    def forward(self, batch: Batch) -> Batch:
        self.calls += 1
        return batch


def test_one_view_more_leaves_the_others_alone():
    three, four = (
        Independent(views=n, before=(CROP,), after=(JITTER,))(ramp(), SAME, Rng(0)) for n in (3, 4)
    )
    assert len(four) == 4
    assert all(torch.equal(a.values, b.values) for a, b in zip(three, four, strict=False))
    short, long = (MultiCrop(local_views=n, after=(JITTER,))(ramp(), SAME, Rng(0)) for n in (1, 5))
    assert all(torch.equal(a.values, b.values) for a, b in zip(short, long, strict=False))


def test_the_front_end_runs_once_where_nothing_changes_before_it():
    shared, own = Counting(1), Counting(1)
    Independent(views=5, after=(JITTER,))(ramp(), shared, Rng(0))
    Independent(views=5, before=(JITTER,))(ramp(), own, Rng(0))
    assert (shared.calls, own.calls) == (1, 5)


def test_overlapping_crops_share_the_asked_stretch():
    for key in range(30):
        left, right = Overlapping(overlap=(0.3, 0.5))(ramp(), SAME, Rng(key))
        stop = left.start + left.values.shape[2]
        common = stop - right.start
        assert (left.start <= right.start).all()
        assert (stop <= right.start + right.values.shape[2]).all()
        assert common.unique().numel() == 1, "equal in all records"
        assert 18 <= common[0] <= 30


def test_the_same_moment_is_found_by_start():
    left, right = Overlapping()(ramp(200), SAME, Rng(3))
    shift = right.start - left.start
    for row in range(200):
        common = left.values[row, 0, shift[row] :]
        assert torch.equal(common, right.values[row, 0, : len(common)])
    assert left.start.unique().numel() > 1, "each record is cropped at a place of its own"


def test_short_records_overlap_in_at_least_one_step():
    batch = ragged()
    for key in range(100):
        left, right = Overlapping(overlap=(0.05, 0.3))(batch, SAME, Rng(key))
        first = torch.maximum(left.start, right.start)
        stop = torch.minimum(left.start + left.lengths, right.start + right.lengths)
        assert (stop > first).all()
        assert (left.start >= 0).all()
        assert (
            torch.maximum(left.start + left.lengths, right.start + right.lengths) <= batch.lengths
        ).all()


def test_overlapping_refuses_augmentations_that_move_steps():
    with pytest.raises(ValueError, match=r"Overlapping: after\[1\] 'crop' moves steps, so the"):
        Overlapping(after=(JITTER, CROP))
    with pytest.raises(ValueError, match=r"Overlapping: before\[0\] 'crop' moves steps"):
        Overlapping(before=(CROP,))


def test_overlapping_refuses_a_reversed_range():
    with pytest.raises(ValueError, match=r"Overlapping: overlap is \(0.8, 0.2\); low must not"):
        Overlapping(overlap=(0.8, 0.2))


def test_multi_crop_gives_long_views_first_then_short_ones():
    generator = MultiCrop(global_views=2, global_fraction=0.7, local_views=3, local_fraction=0.3)
    views = generator(ramp(300), SAME, Rng(0))
    assert [view.values.shape[2] for view in views] == [42, 42, 18, 18, 18]
    for view in views:
        assert torch.equal(view.values[:, 0, 0], view.start.float())
        assert (view.values.diff(dim=2) == 1).all(), "the time scale stays"
        assert view.start.min() == 0
        assert view.start.max() == 60 - view.values.shape[2]


def test_multi_crop_scales_its_crops_to_short_records():
    long, *_, short = MultiCrop(global_fraction=0.5, local_fraction=0.25)(ragged(), SAME, Rng(0))
    assert long.host_lengths == (30, 20, 3, 1, 1, 30)
    assert short.host_lengths == (15, 10, 1, 1, 1, 15)


def test_a_local_crop_longer_than_a_global_one_is_refused():
    with pytest.raises(ValueError, match=r"local_fraction is 0.6 and global_fraction is 0.5; a"):
        MultiCrop(global_fraction=0.5, local_fraction=0.6)


def test_neighbours_are_as_far_apart_as_asked():
    generator = Neighbours(gap=2, reach=5)
    assert generator.extra_steps == 5
    one, other = generator(ramp(4000), SAME, Rng(0))
    assert one.values.shape[2] == other.values.shape[2] == 55
    assert torch.equal(one.values[:, 0, 0], one.start.float())
    distance = other.start - one.start
    # Eight distances, 500 records each; the deviation is 21
    assert distance.unique().tolist() == [-5, -4, -3, -2, 2, 3, 4, 5]
    counts = distance.abs().bincount()[2:]
    assert (counts - 1000).abs().max() < 150
    assert torch.minimum(one.start, other.start).max() == 3


def test_windows_side_by_side_do_not_overlap():
    one, other = Neighbours(gap=30, reach=30)(ramp(100), SAME, Rng(0))
    assert one.values.shape[2] == 30
    assert (one.values + other.values).sum(2).flatten().tolist() == [59.0 * 30] * 100


def test_neighbours_of_short_records_stay_within_them():
    batch = ragged()
    for key in range(30):
        for view in Neighbours(gap=1, reach=20)(batch, SAME, Rng(key)):
            assert (view.start >= 0).all()
            assert (view.start + view.lengths <= batch.lengths).all()


def test_neighbours_need_a_window_beside_their_reach():
    with pytest.raises(ValueError, match="Neighbours: reach is 2; it must be at least gap, 3"):
        Neighbours(gap=3, reach=2)
    with pytest.raises(ValueError, match="a batch of 60 steps has no window beside reach=60"):
        Neighbours(reach=60)(ramp(), SAME, Rng(0))


@pytest.mark.parametrize(
    ("component", "option", "value"),
    [
        (Independent, "views", 0),
        (Overlapping, "overlap", (0.0, 0.5)),
        (MultiCrop, "global_views", 0),
        (MultiCrop, "local_fraction", 1.5),
        (Neighbours, "gap", -1),
        (Neighbours, "reach", 0),
    ],
)
def test_options_out_of_range_are_refused(refused, component, option, value):
    assert refused(component, option, value)
