from __future__ import annotations

import pickle

import numpy as np
import pytest

from seqcl.data.dataset import Dataset, dataset_from_arrays
from seqcl.data.samplers import Sampler
from seqcl.registry import Spec, registry

NAMES = tuple(registry("samplers"))


def labelled(size: int, seed: int = 0) -> Dataset:
    """`size` records of three classes in the ratio 7 : 2 : 1."""
    rng = np.random.default_rng(seed)
    return dataset_from_arrays(
        np.zeros((size, 1, 4)), rng.choice([7, 2, 1], size, p=[0.7, 0.2, 0.1])
    )


def build(name: str, dataset: Dataset) -> Sampler:
    return Spec[Sampler]("samplers", name).build(dataset)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2, 97])
def test_an_epoch_is_as_long_as_the_sampler_says_and_holds_rows(name: str, size: int) -> None:
    sampler = build(name, labelled(size))
    rows = sampler.epoch(3, 0)
    assert rows.dtype == np.int64
    assert rows.shape == (len(sampler),)
    assert 0 <= rows.min() <= rows.max() < size


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_is_a_pure_function_of_seed_and_epoch(name: str) -> None:
    dataset = labelled(97)
    sampler = build(name, dataset)
    expected = sampler.epoch(5, 7)
    sampler.epoch(5, 8)
    np.testing.assert_array_equal(sampler.epoch(5, 7), expected)
    np.testing.assert_array_equal(build(name, dataset).epoch(5, 7), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sampler)).epoch(5, 7), expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sequential"])
def test_epochs_and_seeds_differ(name: str) -> None:
    sampler = build(name, labelled(97))
    orders = {tuple(sampler.epoch(*key)) for key in ((5, 0), (5, 1), (6, 0), (0, 5), (1, 5))}
    assert len(orders) == 5


@pytest.mark.parametrize("name", NAMES)
def test_the_global_random_state_is_neither_read_nor_changed(name: str) -> None:
    sampler = build(name, labelled(97))
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    rows = sampler.epoch(1, 1)
    assert np.random.random() == expected
    np.testing.assert_array_equal(rows, sampler.epoch(1, 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_keeps_no_reference_to_the_data(name: str) -> None:
    small = len(pickle.dumps(build(name, labelled(97))))
    wide = dataset_from_arrays(np.zeros((97, 1, 4_000)), labelled(97).labels)
    assert len(pickle.dumps(build(name, wide))) == small
