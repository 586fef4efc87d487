"""The bootstrap: the draws, the interval, and how often it holds the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqcl.evaluation import bootstrap
from seqcl.evaluation.bootstrap import bootstrap_interval, resample_counts, resampled
from seqcl.evaluation.outcomes import Averaged, Decisions, Means


def means(values: np.ndarray) -> Means:
    return Means(tuple(map(str, range(len(values)))), {"mean": values})


@pytest.mark.parametrize("n", [1, 2, 50])
def test_each_resample_draws_as_many_records_as_there_are(n: int) -> None:
    counts = np.concatenate(list(resample_counts(np.arange(n), 40, 0)))
    assert counts.shape == (40, n)
    assert (counts.sum(1) == n).all()


def test_blocks_are_bounded_and_draw_the_same_records(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = np.concatenate(list(resample_counts(np.arange(30), 25, 4)))
    monkeypatch.setattr(bootstrap, "_BLOCK", 90)
    blocks = list(resample_counts(np.arange(30), 25, 4))
    assert max(block.size for block in blocks) <= 90
    assert (np.concatenate(blocks) == at_once).all()


def test_another_seed_draws_other_records() -> None:
    both = (resample_counts(np.arange(30), 5, seed) for seed in (0, 1))
    first, second = (np.concatenate(list(blocks)) for blocks in both)
    assert (first != second).any()


def test_the_spread_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    found = resampled(means(values), 4000, 0)["mean"]
    # a standard deviation from 4,000 draws is known to about 1 %
    assert found.std() == pytest.approx(values.std() / 20, rel=0.05)
    assert found.mean() == pytest.approx(values.mean(), abs=0.005)


def test_the_interval_holds_the_truth_about_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        right = (rng.random(150) < 0.8).astype(float)
        low, high = bootstrap_interval(resampled(means(right), 300, trial)["mean"])
        held += low <= 0.8 <= high
    assert 180 <= held <= 198  # 190 expected, with a spread of 3


def test_decisions_give_the_same_accuracy_as_the_mean_of_what_is_right() -> None:
    rng = np.random.default_rng(3)
    true, predicted = rng.integers(0, 3, (2, 70))
    ids = tuple(map(str, range(70)))
    outcomes = Decisions(ids, true, predicted, 3)
    right = means((true == predicted).astype(float))
    ours, expected = resampled(outcomes, 50, 0)["accuracy"], resampled(right, 50, 0)["mean"]
    np.testing.assert_allclose(ours, expected)
    assert outcomes.values()["accuracy"] == pytest.approx((true == predicted).mean())


def test_averaged_outcomes_are_the_mean_of_their_draws() -> None:
    first, second = np.arange(4.0), np.array([1.0, 0, 0, 0])
    both = Averaged(("0", "1", "2", "3"), (means(first), means(second)))
    counts = np.array([[1, 1, 1, 1], [4, 0, 0, 0]])
    assert both.metrics(counts)["mean"].tolist() == [(1.5 + 0.25) / 2, 0.5]
    assert both.values() == {"mean": (1.5 + 0.25) / 2}


def test_the_records_of_a_unit_are_drawn_together() -> None:
    units = np.array([0, 1, 1, 2, 0, 2])
    counts = np.concatenate(list(resample_counts(units, 40, 0)))
    assert (counts[:, [0, 1, 3]] == counts[:, [4, 2, 5]]).all()
    assert (counts[:, [0, 1, 3]].sum(1) == 3).all()


def test_copies_of_a_record_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(0).standard_normal(50)
    single = resampled(means(values), 100, 0)["mean"]
    copied = means(np.repeat(values, 8))
    copied = replace(copied, units=np.repeat(np.arange(50)[::-1], 8))
    np.testing.assert_allclose(resampled(copied, 100, 0)["mean"], single)


def test_records_that_are_each_their_own_unit_are_drawn_as_without_units() -> None:
    plain = means(np.random.default_rng(0).standard_normal(50))
    ordered = replace(plain, units=np.random.default_rng(1).permutation(50))
    alone = replace(plain, units=np.zeros(50, np.int64))
    for other in (ordered, alone):
        assert (resampled(other, 20, 0)["mean"] == resampled(plain, 20, 0)["mean"]).all()
