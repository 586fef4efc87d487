from __future__ import annotations

import pickle

import numpy as np
import pytest

from seqcl.data.arrays import arrays_to_memory
from seqcl.data.dataset import Dataset
from seqcl.data.samplers import Sampler
from seqcl.data.windows import Windows
from seqcl.registry import Spec, registry

NAMES = tuple(registry("samplers"))
STEPS = 4


def known(size: int, seed: int = 0, steps: int = STEPS) -> Dataset:
    """`size` windows, three to a recording, of three classes in the ratio 7 : 2 : 1."""
    rng = np.random.default_rng(seed)
    lengths = [3 * steps] * (size // 3) + [size % 3 * steps] * (size % 3 > 0)
    labels = rng.choice([7, 2, 1], len(lengths), p=[0.7, 0.2, 0.1])
    groups = [f"g{row // 2}" for row in range(len(lengths))]
    X = [np.zeros((1, length)) for length in lengths]
    recordings, values, _ = arrays_to_memory(X, labels, groups, None)
    windows = Windows(recordings.lengths, steps, steps)
    return Dataset(recordings, windows, values, channels=("x",), named=False)


def paired(size: int, steps: int = STEPS) -> Dataset:
    """`size` records, the first four in two marked pairs."""
    X = [np.zeros((1, steps)) for _ in range(size)]
    marks = ["a", "!b", "a", "!b", *[None] * size][:size]
    recordings, values, _ = arrays_to_memory(X, [0] * size, None, None, marks)
    return Dataset(recordings, Windows(recordings.lengths), values, channels=("x",), named=False)


def data(name: str, size: int, steps: int = STEPS) -> Dataset:
    """Data that the sampler can order: windows, or whole records in marked pairs."""
    if "pairs" in registry("samplers")[name].needs:
        return paired(max(size, 4), steps)
    return known(size, steps=steps)


def build(name: str, dataset: Dataset) -> Sampler:
    return Spec[Sampler]("samplers", name).build(dataset)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2, 97])
def test_an_epoch_is_as_long_as_the_sampler_says_and_holds_rows(name: str, size: int) -> None:
    dataset = data(name, size)
    sampler = build(name, dataset)
    rows = sampler.epoch(3, 0)
    assert rows.dtype == np.int64
    assert rows.shape == (len(sampler),)
    assert 0 <= rows.min() <= rows.max() < len(dataset)


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_shows_most_of_the_records(name: str) -> None:
    sampler = build(name, data(name, 97))
    assert 90 <= len(sampler) <= 105
    assert len(set(sampler.epoch(0, 0).tolist())) > 40


@pytest.mark.parametrize("name", NAMES)
def test_it_says_of_every_batch_size_whether_it_suits(name: str) -> None:
    sampler = build(name, data(name, 97))
    faults = [sampler.fault(size) for size in range(1, 98)]
    assert None in faults
    for fault in faults:
        assert fault is None or (name in fault and "training.batch_size" in fault)


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_is_a_pure_function_of_seed_and_epoch(name: str) -> None:
    dataset = data(name, 97)
    sampler = build(name, dataset)
    expected = sampler.epoch(5, 7)
    sampler.epoch(5, 8)
    np.testing.assert_array_equal(sampler.epoch(5, 7), expected)
    np.testing.assert_array_equal(build(name, dataset).epoch(5, 7), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sampler)).epoch(5, 7), expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sequential"])
def test_epochs_and_seeds_differ(name: str) -> None:
    sampler = build(name, data(name, 97))
    orders = {tuple(sampler.epoch(*key)) for key in ((5, 0), (5, 1), (6, 0), (0, 5), (1, 5))}
    assert len(orders) == 5


@pytest.mark.parametrize("name", NAMES)
def test_the_global_random_state_is_neither_read_nor_changed(name: str) -> None:
    sampler = build(name, data(name, 97))
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    rows = sampler.epoch(1, 1)
    assert np.random.random() == expected
    np.testing.assert_array_equal(rows, sampler.epoch(1, 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_keeps_no_reference_to_the_data(name: str) -> None:
    small = len(pickle.dumps(build(name, data(name, 97))))
    assert len(pickle.dumps(build(name, data(name, 97, steps=4_000)))) == small
