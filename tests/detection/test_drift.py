"""Drift: quiet on what the reference looks like, loud on what it does not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.signal import lfilter

from seqcl.detection.drift import DriftReference, DriftTracker
from seqcl.errors import ArtefactError, DataError

WINDOW = 200


def draw(share: float, rows: int, seed: int, size: int = 6) -> np.ndarray:
    """Draw AR(1) rows of unit variance."""
    noise = np.random.default_rng(seed).normal(size=(rows + 200, size))
    return lfilter([np.sqrt(1 - share**2)], [1, -share], noise, axis=0)[200:]


def looks(reference: DriftReference, rows: np.ndarray) -> np.ndarray:
    tracker = DriftTracker(reference)
    found = [tracker.push(row) for row in rows]
    return np.array([value for value in found if value is not None])


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_stationary_vectors_stay_at_the_rate_asked_for(share: float) -> None:
    over = []
    for seed in range(4):
        rows = draw(share, 5000, seed)
        reference = DriftReference.fit(rows, window=WINDOW, rate=0.02, features=32)
        over.append((looks(reference, draw(share, 3000, 100 + seed)) > 1).mean())
    # Some 60 windows side by side: 0.02 +- 2 x 0.018
    assert np.mean(over) < 0.056
    assert max(over) > 0, "it can be exceeded"


@pytest.mark.parametrize("share", [0.0, 0.8])
@pytest.mark.parametrize(
    "change", [lambda rows: rows + 1, lambda rows: rows * 2], ids=["shifted", "scaled"]
)
def test_a_shifted_mean_and_another_scale_are_seen(share: float, change) -> None:
    reference = DriftReference.fit(draw(share, 5000, 0), window=WINDOW)
    assert (looks(reference, change(draw(share, 1000, 1))) > 1).all()


def test_the_discrepancy_is_that_of_the_gaussian_kernel() -> None:
    """Against the plain double sum, whose kernel the features meet to about 1 / sqrt(2,000)."""
    rows, new = draw(0, 400, 0, size=3), draw(0, 40, 1, size=3) + 0.8
    reference = DriftReference.fit(rows, window=40, features=2000)
    width = 1 / np.sqrt(np.square(reference.frequencies).mean())

    def kernel(one: np.ndarray, other: np.ndarray) -> float:
        apart = np.square(one[:, None] - other[None]).sum(2)
        return float(np.exp(-apart / (2 * width**2)).mean())

    expected = kernel(rows, rows) + kernel(new, new) - 2 * kernel(rows, new)
    found = looks(reference, new)
    assert found.shape == (1,)
    assert found[0] * reference.threshold == pytest.approx(expected, rel=0.1)


def test_it_looks_at_every_tenth_of_a_window_once_one_is_full() -> None:
    tracker = DriftTracker(DriftReference.fit(draw(0, 600, 0), window=55))
    places = [place for place, row in enumerate(draw(0, 80, 1), 1) if tracker.push(row) is not None]
    assert places == [55, 60, 65, 70, 75, 80]


def test_its_state_goes_through_json_at_any_row_and_does_not_grow() -> None:
    reference, rows = DriftReference.fit(draw(0, 600, 0), window=50, features=4), draw(0, 300, 1)
    tracker, found, sizes = DriftTracker(reference), [], []
    for row in rows:
        found.append(tracker.push(row))
        state = json.loads(json.dumps(tracker.state()))
        sizes.append(len(state["blocks"]))
        tracker = DriftTracker(DriftReference.from_arrays(reference.arrays()))
        tracker.restore(state)
    assert [value for value in found if value is not None] == looks(reference, rows).tolist()
    assert max(sizes) == 10


def test_equal_seeds_give_equal_references() -> None:
    rows = draw(0, 600, 0)
    first, same, other = (DriftReference.fit(rows, window=50, seed=seed) for seed in (0, 0, 1))
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(same.arrays()[name], array, strict=True)
    assert not np.array_equal(first.frequencies, other.frequencies)


def test_constant_vectors_have_a_threshold_and_see_any_change() -> None:
    reference = DriftReference.fit(np.ones((600, 4)), window=50)
    assert (looks(reference, np.ones((60, 4))) <= 1).all()
    assert (looks(reference, np.zeros((60, 4))) > 1).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="99 vectors; a window of 50 needs 500"):
        DriftReference.fit(draw(0, 99, 0), window=50)
    with pytest.raises(DataError, match="needs finite values"):
        DriftReference.fit(np.full((600, 2), np.nan))
    reference = DriftReference.fit(draw(0, 600, 0), window=50)
    tracker = DriftTracker(reference)
    for bad in (np.ones(5), np.full(6, np.inf)):
        with pytest.raises(ValueError, match="needs finite values of one row"):
            tracker.push(bad)
    with pytest.raises(ArtefactError, match="state of drift: 'blocks'"):
        tracker.restore({})
    with pytest.raises(ArtefactError, match="of another model"):
        tracker.restore({"blocks": [], "sum": [0.0], "count": 1})
    arrays = reference.arrays()
    del arrays["mean"]
    with pytest.raises(ArtefactError, match="no array mean"):
        DriftReference.from_arrays(arrays)
