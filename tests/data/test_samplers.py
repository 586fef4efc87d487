from __future__ import annotations

import numpy as np
import pytest

from seqcl.data.dataset import dataset_from_arrays
from seqcl.data.samplers import BalancedSampler, SequentialSampler, ShuffleSampler
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


def test_balanced_works_on_a_subset_that_lacks_a_class() -> None:
    dataset = dataset_from_arrays(np.zeros((6, 1, 4)), [0, 1, 2, 0, 1, 2]).subset([0, 2, 3, 5])
    rows = BalancedSampler(dataset).epoch(0, 0)
    assert sorted(dataset.label_codes[rows]) == [0, 0, 2, 2]


def test_balanced_needs_labels_and_names_the_first_record_without_one() -> None:
    dataset = dataset_from_arrays(np.zeros((4, 1, 4)), [0, 1, None, None])
    with pytest.raises(DataError, match=r"balanced: 2 of 4 records have no label, first #2; label"):
        BalancedSampler(dataset)
