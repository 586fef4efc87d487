from __future__ import annotations

import numpy as np
import pytest

from seqcl.data.dataset import dataset_from_arrays, open_dataset
from seqcl.data.options import DataOptions
from seqcl.modalities.base import NotApplicable
from seqcl.modalities.sequence.baselines import MiniRocket, Raw

RNG = np.random.default_rng(0)


def dataset(n: int = 5, channels: int = 2, steps: int = 12):
    return dataset_from_arrays(
        RNG.normal(3, [[2.0]] * channels, (n, channels, steps)), y=[0, 1] * (n // 2) + [0] * (n % 2)
    )


def plain_raw(reference: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(N, C, T) of equal length and without gaps, one value after another."""
    out = np.empty_like(test)
    for channel in range(test.shape[1]):
        values = reference[:, channel]
        out[:, channel] = (test[:, channel] - values.mean()) / values.std()
    return out.reshape(len(test), -1)


def values_of(data) -> np.ndarray:
    return np.stack([record.values for record in data.records(range(len(data)))])


def test_raw_is_the_standardised_values_end_to_end():
    reference, test = dataset(7), dataset(4)
    a, b = Raw()(reference, test, 0)
    # float32 sums of the scaler against float64 ones
    np.testing.assert_allclose(
        a.values, plain_raw(values_of(reference), values_of(reference)), atol=1e-5
    )
    np.testing.assert_allclose(
        b.values, plain_raw(values_of(reference), values_of(test)), atol=1e-5
    )
    assert (a.ids, a.labels, a.info) == (
        tuple(reference.ids),
        tuple(reference.labels),
        {"metric": "euclidean"},
    )


def test_raw_fills_gaps_in_a_line_and_ends_with_the_nearest_value():
    X = np.array([[[0.0, 1, 2, 3]], [[np.nan, 1, np.nan, 3]], [[np.nan, 2, np.nan, np.nan]]])
    reference = dataset_from_arrays([X[0], X[1], np.array([[5.0, 2, 2, 2]])])
    _, test = Raw()(reference, dataset_from_arrays(list(X)), 0)
    scale = test.values[0, 1] - test.values[0, 0]
    steps = (test.values - test.values[0, 0]) / scale
    np.testing.assert_allclose(steps, [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 2]], atol=1e-6)


def test_raw_of_a_channel_with_nothing_observed_is_zero():
    X = RNG.normal(size=(3, 2, 6))
    X[1, 0] = np.nan
    reference, _ = Raw()(dataset_from_arrays(X), dataset_from_arrays(X), 0)
    np.testing.assert_array_equal(reference.values[1, :6], 0)
    assert np.abs(reference.values[1, 6:]).min() > 0


def test_raw_cuts_or_pads_to_the_longest_of_the_reference():
    series = [RNG.normal(size=(1, steps)) for steps in (4, 6)]
    reference = dataset_from_arrays(series)
    a, b = Raw()(reference, dataset_from_arrays([np.tile(series[1], 2), series[0]]), 0)
    assert a.values.shape == b.values.shape == (2, 6)
    np.testing.assert_allclose(b.values[0], a.values[1])
    np.testing.assert_array_equal(b.values[1, 4:], 0)


def test_minirocket_is_aeons_with_the_same_seed_and_leaves_numpys_global_state():
    from aeon.transformations.collection.convolution_based import MiniRocket as Transform

    reference, test = dataset(6, steps=20), dataset(3, steps=20)
    before = np.random.get_state()[1].copy()
    a, b = MiniRocket()(reference, test, 5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    transform = Transform(random_state=5)
    np.testing.assert_array_equal(a.values, transform.fit_transform(values_of(reference)))
    np.testing.assert_array_equal(b.values, transform.transform(values_of(test)))
    assert a.values.shape == (6, 9_996)


def test_minirocket_pads_series_shorter_than_a_kernel():
    a, b = MiniRocket()(dataset(4, 1, 5), dataset(2, 1, 5), 0)
    assert (a.values.shape[0], b.values.shape[0]) == (4, 2)
    assert np.isfinite(a.values).all()


@pytest.mark.parametrize(
    ("reference", "test", "reason"),
    [
        ((4, 10), (4, 11), "unequal length: 10 to 11 steps"),
        ((4, 10), "gap", "missing values in 1 of 3 records"),
        ("gap", (4, 10), "missing values in 1 of 3 records"),
    ],
)
def test_minirocket_is_not_applicable_to_gaps_and_unequal_length(reference, test, reason):
    def make(form):
        X = RNG.normal(size=(3, 1, 10) if form == "gap" else (form[0], 1, form[1]))
        if form == "gap":
            X[1, 0, 4] = np.nan
        return dataset_from_arrays(X)

    with pytest.raises(NotApplicable, match=f"^{reason}$"):
        MiniRocket()(make(reference), make(test), 0)


def nearest_neighbour_accuracy(name: str) -> float:
    sets = [open_dataset([f"aeon:{name}:{split}"], DataOptions()) for split in ("train", "test")]
    reference, test = Raw()(*sets, 0)
    distances = ((test.values[:, None] - reference.values) ** 2).sum(-1)
    guesses = np.array(reference.labels)[distances.argmin(1)]
    return float((guesses == np.array(test.labels)).mean())


@pytest.mark.parametrize(
    ("name", "accuracy"), [("ItalyPowerDemand", 0.955), ("GunPoint", 0.913), ("ArrowHead", 0.800)]
)
def test_1nn_on_raw_values_has_the_published_accuracy(name, accuracy):
    # published to three digits (Dau et al. 2019, 1NN-ED)
    assert nearest_neighbour_accuracy(name) == pytest.approx(accuracy, abs=5e-4)
