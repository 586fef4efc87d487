from __future__ import annotations

import numpy as np
import pytest

from seqcl.data.arrays import arrays_to_memory
from seqcl.data.dataset import Dataset, dataset_from_arrays
from seqcl.data.samplers import (
    BalancedSampler,
    GroupedSampler,
    NeighbourSampler,
    PairSampler,
    PkSampler,
    SequentialSampler,
    ShuffleSampler,
)
from seqcl.data.samplers.base import Rows
from seqcl.data.samplers.members import hands
from seqcl.data.windows import Windows
from seqcl.errors import DataError


def test_shuffle_is_every_record_once_and_sequential_in_order() -> None:
    dataset = dataset_from_arrays(np.zeros((50, 1, 4)))
    rows = ShuffleSampler(dataset).epoch(0, 3)
    assert sorted(rows) == list(range(50))
    assert list(rows) != list(range(50))
    assert SequentialSampler(dataset).epoch(0, 3).tolist() == list(range(50))


def test_balanced_shows_every_class_once_a_round() -> None:
    y = np.array([0] * 80 + [1] * 15 + [5] * 5)
    sampler = BalancedSampler(dataset_from_arrays(np.zeros((100, 1, 4)), y))
    rows = sampler.epoch(0, 0)
    rounds = y[rows][:99].reshape(33, 3)
    assert (np.sort(rounds, axis=1) == [0, 1, 5]).all()
    assert len({tuple(order) for order in rounds}) == 6  # all orders of three classes
    assert set(rows[y[rows] == 5]) == set(range(95, 100))  # each of the rare ones is drawn


def test_balanced_repeats_a_record_only_after_all_others_of_its_class() -> None:
    y = np.array([0] * 80 + [1] * 15 + [5] * 5)
    rows = BalancedSampler(dataset_from_arrays(np.zeros((100, 1, 4)), y)).epoch(0, 0)
    for label, size in ((0, 80), (1, 15), (5, 5)):
        own = rows[y[rows] == label]
        for first in range(0, len(own), size):
            assert len(set(own[first : first + size])) == len(own[first : first + size])


def test_balanced_works_on_a_subset_that_lacks_a_class() -> None:
    dataset = dataset_from_arrays(np.zeros((6, 1, 4)), [0, 1, 2, 0, 1, 2]).subset([0, 2, 3, 5])
    rows = BalancedSampler(dataset).epoch(0, 0)
    assert sorted(dataset.label_codes[rows]) == [0, 0, 2, 2]


def test_balanced_needs_labels_and_names_the_first_record_without_one() -> None:
    dataset = dataset_from_arrays(np.zeros((4, 1, 4)), [0, 1, None, None])
    with pytest.raises(DataError, match=r"balanced: 2 of 4 records have no label, first #2; label"):
        BalancedSampler(dataset)


def labelled(counts: dict[int, int]) -> tuple[Dataset, Rows]:
    y = np.concatenate([np.full(count, label) for label, count in counts.items()])
    y = np.random.default_rng(0).permutation(y)
    return dataset_from_arrays(np.zeros((len(y), 1, 4)), y), y


def test_hands_hold_nothing_twice_and_all_things_come_about_equally_often() -> None:
    rng = np.random.default_rng(0)
    for n, size, count in ((10, 4, 50), (4, 4, 7), (9, 1, 30), (100, 7, 3)):
        dealt = hands(n, size, count, rng)
        assert dealt.shape == (count, size)
        assert all(len(set(hand)) == size for hand in dealt.tolist())
    often = np.bincount(hands(10, 4, 500, rng).ravel(), minlength=10)
    assert (abs(often - 200) < 30).all()  # 200 each; a deck drops 2 of 10 at random


def test_a_hand_of_more_than_there_is_holds_everything_evenly() -> None:
    dealt = hands(3, 7, 20, np.random.default_rng(0))
    counts = np.stack([np.bincount(hand, minlength=3) for hand in dealt])
    assert counts.min() == 2
    assert counts.max() == 3


def test_pk_batches_hold_p_classes_with_k_different_records_each() -> None:
    dataset, y = labelled({0: 40, 1: 12, 2: 9, 5: 30, 7: 9})
    sampler = PkSampler(dataset, classes=3, records=4)
    assert len(sampler) == 108  # 100 // 4 = 25 sets, rounded up to nine batches of three
    for batch in sampler.epoch(0, 0).reshape(-1, 12):
        classes, counts = np.unique(y[batch], return_counts=True)
        assert len(classes) == 3
        assert (counts == 4).all()
        assert len(set(batch.tolist())) == 12


def test_pk_without_classes_fills_a_batch_of_any_whole_number_of_sets() -> None:
    dataset, y = labelled({0: 40, 1: 12, 2: 9, 5: 30, 7: 9})
    sampler = PkSampler(dataset, records=5)
    rows = y[sampler.epoch(0, 0)].reshape(-1, 5)
    assert (rows == rows[:, :1]).all()
    assert all(set(turn) == {0, 1, 2, 5, 7} for turn in rows[:, 0].reshape(-1, 5).tolist())
    assert sampler.fault(35) is None
    assert sampler.fault(36) == (
        "sampler pk makes sets of 5 records; batches of 36 cut them: set training.batch_size to a "
        "multiple of 5, or other numbers in pk"
    )


def test_pk_repeats_records_of_a_class_only_where_it_has_too_few() -> None:
    dataset, y = labelled({0: 20, 1: 3})
    rows = PkSampler(dataset, records=4).epoch(0, 0).reshape(-1, 4)
    for members in rows:
        assert len(set(members.tolist())) == (4 if y[members[0]] == 0 else 3)


def test_pk_shows_a_set_of_every_class_in_an_epoch_however_few_the_records() -> None:
    dataset, y = labelled({0: 2, 1: 2, 2: 2})
    sampler = PkSampler(dataset, records=4)
    rows = sampler.epoch(0, 0)
    assert len(sampler) == 12
    assert np.bincount(y[rows]).tolist() == [4, 4, 4]
    assert np.bincount(rows).tolist() == [2] * 6
    assert sampler.fault(12) is None


def test_pk_refuses_more_classes_or_records_than_the_data_have_with_the_true_numbers() -> None:
    dataset, _ = labelled({0: 8, 1: 8, 2: 6})
    assert PkSampler(dataset, classes=50).fault(200) == (
        "sampler pk: classes=50, and the data have 3: set training.sampler.pk.classes to at most "
        "that, or leave it out, and training.batch_size to match"
    )
    assert PkSampler(dataset, records=100).fault(300) == (
        "sampler pk: records=100, and the largest class has 8, which a set would hold more than "
        "twice: set training.sampler.pk.records to at most 8, and training.batch_size to match"
    )
    assert PkSampler(dataset, classes=3, records=16).fault(48) is None


def test_pk_refuses_labels_of_which_no_two_are_equal() -> None:
    values = dataset_from_arrays(np.zeros((24, 1, 4)), np.linspace(0, 1, 24))
    with pytest.raises(DataError, match="no two of 24 labelled records are of one class, so sets"):
        PkSampler(values)
    assert len(PkSampler(values, records=1)) == 24


def test_pk_mixes_in_every_record_without_a_label_once() -> None:
    y = [0, 1, 0, 1, *[None] * 30]
    sampler = PkSampler(dataset_from_arrays(np.zeros((34, 1, 4)), y), records=2, others=3)
    rows = sampler.epoch(0, 0).reshape(-1, 5)
    assert rows[:, :2].max() < 4
    assert sorted(rows[:, 2:].ravel()) == list(range(4, 34))


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ([0, 1, None], {}, "sampler pk: 1 of 3 records have no label, first #2; label them, mix"),
        ([None, None], {"others": 1}, "sampler pk: no record has a label; set data.label"),
        ([0, 1], {"others": 1}, "others=1, and every record has a label .*; use others=0"),
    ],
)
def test_pk_tells_what_labels_it_lacks(
    y: list[int | None], options: dict[str, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        PkSampler(dataset_from_arrays(np.zeros((len(y), 1, 4)), y), **options)


def grouped(groups: list[str], y: list[int] | None = None) -> Dataset:
    return dataset_from_arrays(np.zeros((len(groups), 1, 4)), y, groups)


def test_grouped_within_makes_sets_of_one_group() -> None:
    groups = np.repeat(["a", "b", "c"], [9, 5, 4])
    sampler = GroupedSampler(grouped(groups.tolist()), records=3)
    sets = groups[sampler.epoch(0, 0)].reshape(-1, 3)
    assert (sets == sets[:, :1]).all()
    assert len(sets) == 6
    assert sampler.fault(7) is not None


def test_grouped_across_makes_sets_of_one_class_and_different_groups() -> None:
    groups = np.array(["a", "b", "c", "d"] * 6)
    y = np.repeat([0, 1], 12)
    sampler = GroupedSampler(grouped(groups.tolist(), y.tolist()), positives="across", records=3)
    for rows in sampler.epoch(0, 0).reshape(-1, 3):
        assert len(set(y[rows])) == 1
        assert len(set(groups[rows])) == 3


@pytest.mark.parametrize("batch", [2, 5, 7])
def test_grouped_none_never_has_two_records_of_a_group_in_a_batch(batch: int) -> None:
    groups = np.repeat(list("abcdefg"), [20, 3, 5, 9, 1, 4, 8])
    sampler = GroupedSampler(grouped(groups.tolist()), positives="none")
    rows = sampler.epoch(0, 0)
    assert len(rows) == 49  # 50 records, 7 groups
    for first in range(0, len(rows) - batch + 1, batch):
        assert len(set(groups[rows[first : first + batch]])) == batch
    assert sampler.fault(batch) is None
    assert "batches of 8 need as many groups, there are 7" in str(sampler.fault(8))


def test_grouped_tells_what_groups_it_lacks() -> None:
    with pytest.raises(DataError, match=r"no two records are of one group; set data\.group"):
        GroupedSampler(grouped(["a", "b"]))
    with pytest.raises(DataError, match="class 1 is in one group only, that of #2; give more"):
        GroupedSampler(grouped(["a", "b", "b", "b"], [0, 0, 1, 1]), positives="across")
    with pytest.raises(DataError, match="grouped: 2 of 2 records have no label"):
        GroupedSampler(grouped(["a", "a"]), positives="across")


def windows(lengths: list[int]) -> Dataset:
    recordings, values, _ = arrays_to_memory([np.zeros((1, n)) for n in lengths], None, None, None)
    spans = Windows(recordings.lengths, 4, 2)
    return Dataset(recordings, spans, values, channels=("x",), named=False)


def test_neighbours_shows_every_window_once_in_runs_of_one_recording() -> None:
    dataset = windows([64, 30, 6])
    rows = NeighbourSampler(dataset, run=5).epoch(0, 0)
    assert sorted(rows) == list(range(len(dataset)))
    spans = dataset.spans
    follows = (np.diff(spans.recording[rows]) == 0) & (np.diff(spans.start[rows]) == 2)
    runs = np.split(rows, np.flatnonzero(~follows) + 1)
    # 31, 14 and 2 windows; every recording may begin and end with a short run
    assert len(runs) <= 8 + 4 + 2
    assert max(map(len, runs)) >= 5
    begins = {int(NeighbourSampler(dataset, run=5).epoch(0, e)[0]) % 5 for e in range(20)}
    assert len(begins) > 2


def test_neighbours_needs_windows() -> None:
    with pytest.raises(DataError, match=r"no recording has two windows; set data\.window"):
        NeighbourSampler(dataset_from_arrays(np.zeros((3, 1, 4))))


def test_pairs_keeps_both_records_of_a_mark_side_by_side() -> None:
    marks = ["a", None, "!b", "a", None, "!b", None]
    dataset = dataset_from_arrays(np.zeros((7, 1, 4)), pairs=marks)
    sampler = PairSampler(dataset)
    assert len(sampler) == 6
    for epoch in range(5):
        twos = {frozenset(two) for two in sampler.epoch(0, epoch).reshape(-1, 2).tolist()}
        assert {frozenset({0, 3}), frozenset({2, 5})} <= twos
    assert sampler.fault(3) == (
        "sampler pairs: batches of 3 cut pairs; make training.batch_size even"
    )


def test_pairs_tells_what_marks_it_lacks() -> None:
    with pytest.raises(DataError, match=r"no record has a pair mark; set data\.pair"):
        PairSampler(dataset_from_arrays(np.zeros((3, 1, 4))))
    with pytest.raises(DataError, match="3 records share the mark of #1; mark exactly two"):
        PairSampler(dataset_from_arrays(np.zeros((4, 1, 4)), pairs=[None, "a", "a", "a"]))
