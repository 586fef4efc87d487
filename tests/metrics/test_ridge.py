"""Ridge against scikit-learn, and its leave-one-out error against leaving one out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from seqcl.metrics.ridge import fit_ridge, one_vs_rest

PENALTIES = tuple(np.logspace(-3, 3, 10))
SIZES = [(12, 4), (30, 30), (20, 90), (3, 1), (2, 5)]


def problem(records: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(records)
    features = rng.standard_normal((records, size)) + 3
    targets = features @ rng.standard_normal((size, 2)) + rng.standard_normal((records, 2))
    return features, targets


@pytest.mark.parametrize(("records", "size"), SIZES)
@pytest.mark.parametrize("penalty", [0.01, 1.0, 300.0])
def test_the_map_is_that_of_scikit_learn(records: int, size: int, penalty: float) -> None:
    features, targets = problem(records, size)
    found = fit_ridge(features, targets, [penalty])
    oracle = Ridge(penalty).fit(features, targets)
    np.testing.assert_allclose(found.weights, oracle.coef_.T, atol=1e-8)
    np.testing.assert_allclose(found.bias, oracle.intercept_, atol=1e-8)


@pytest.mark.parametrize(("records", "size"), SIZES[:3])
@pytest.mark.parametrize("penalty", [0.01, 10.0])
def test_the_error_is_that_of_leaving_each_record_out(
    records: int, size: int, penalty: float
) -> None:
    features, targets = problem(records, size)
    squares = []
    for row in range(records):
        others = np.arange(records) != row
        alone = Ridge(penalty).fit(features[others], targets[others])
        squares.append((alone.predict(features[[row]])[0] - targets[row]) ** 2)
    assert fit_ridge(features, targets, [penalty]).error == pytest.approx(np.mean(squares))


@pytest.mark.parametrize(("records", "size"), SIZES[:3])
def test_the_penalty_is_the_one_that_scikit_learn_chooses(records: int, size: int) -> None:
    features, targets = problem(records, size)
    oracle = RidgeCV(PENALTIES).fit(features, targets)
    assert fit_ridge(features, targets, PENALTIES).penalty == oracle.alpha_


def test_constant_features_predict_the_mean() -> None:
    targets = one_vs_rest(np.array([0, 0, 1]), 2)
    found = fit_ridge(np.full((3, 4), 7.0), targets, PENALTIES)
    assert (found.weights == 0).all()
    np.testing.assert_allclose(found.bias, targets.mean(0))
    assert found.penalty == PENALTIES[-1]


def test_records_that_occur_twice_do_not_break_the_error() -> None:
    features, targets = problem(10, 40)
    found = fit_ridge(np.repeat(features, 2, 0), np.repeat(targets, 2, 0), PENALTIES)
    assert found.penalty == PENALTIES[0]  # each copy predicts the other: the least shrinkage
    assert found.error < 1e-3


def test_targets_are_plus_one_at_the_class() -> None:
    assert one_vs_rest(np.array([1, 0]), 3).tolist() == [[-1, 1, -1], [1, -1, -1]]


def test_the_inputs_are_not_changed() -> None:
    features, targets = problem(12, 4)
    before = features.copy(), targets.copy()
    fit_ridge(features, targets, PENALTIES)
    assert (features == before[0]).all()
    assert (targets == before[1]).all()
