"""Calibration: p-values, thresholds that keep their rate, and what cannot be promised."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import poisson

from seqcl.detection.calibration import Calibration, calibrate
from seqcl.detection.clusters import clusters_of
from seqcl.errors import ArtefactError, DataError, UsageError

KINDS = ("normal", "uniform", "heavy", "ar.7", "ar.9")


def draw(kind: str, rows: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "uniform":
        return rng.random(rows)
    if kind == "heavy":
        return rng.standard_t(3, rows)
    noise = rng.normal(size=rows + 200)
    share = 0.0 if kind == "normal" else float(kind[2:])
    return lfilter([np.sqrt(1 - share**2)], [1, -share], noise)[200:]


@cache
def fitted(kind: str, seed: int = 0, rows: int = 6000) -> tuple[Calibration, np.ndarray]:
    """Return a calibration and its held-out scores."""
    rng = np.random.default_rng(seed)
    return calibrate(draw(kind, rows, rng)), draw(kind, 60_000, rng)


def slow_p(slice_: np.ndarray, score: float) -> float:
    return (1 + sum(1 for other in slice_ if other >= score)) / (len(slice_) + 1)


def test_the_body_is_conformal_at_the_scores_of_the_slice_and_never_below_it() -> None:
    scores = np.random.default_rng(0).normal(size=400)
    learnt = calibrate(scores)
    body = np.sort(scores)[:-10]
    np.testing.assert_allclose(learnt.p_values(body), [slow_p(scores, s) for s in body])
    between = np.linspace(-4, body[-1], 300)
    assert all(
        p >= slow_p(scores, s) - 1e-12
        for s, p in zip(between, learnt.p_values(between), strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_p_values_fall_without_a_jump_and_are_never_zero(kind: str) -> None:
    learnt, _ = fitted(kind)
    level = learnt.shares.tail.level
    scores = np.concatenate([np.linspace(-5, level + 5, 2000), np.geomspace(20, 1e300, 50)])
    logs = learnt.log_p(np.sort(scores))
    assert (np.diff(logs) <= 0).all()
    assert (learnt.p_values(scores) > 0).all()
    below, at, above = learnt.log_p([level - 1e-9, level, level + 1e-9])
    assert below == pytest.approx(at, abs=1e-4)
    assert above == pytest.approx(at, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_threshold_undoes_a_p_value(kind: str) -> None:
    learnt, _ = fitted(kind)
    for share in (0.9, 0.3, 0.05, learnt.lowest_share):
        assert learnt.p_values(learnt.threshold(share)) == pytest.approx(share, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_asked_share_and_alarms_are_observed_within_a_factor_of_two(kind: str) -> None:
    """The lowest promise is kept by 95 % by its rule; 3 seeds of 4 leave room for chance."""
    kept = {"share": 0, "alarms": 0}
    for seed in range(4):
        learnt, new = fitted(kind, seed)
        asked = 2 * learnt.lowest_share
        observed = (new >= learnt.threshold(asked)).mean() / asked
        kept["share"] += 0.5 <= observed <= 2
        asked = 2 * learnt.lowest_alarms
        alarms = clusters_of(np.flatnonzero(new >= learnt.alarm_threshold(asked)), learnt.run)
        kept["alarms"] += 0.5 <= len(alarms) / len(new) / asked <= 2
    assert min(kept.values()) >= 3


def test_dependent_scores_promise_less_than_independent_ones() -> None:
    lowest = [fitted(kind)[0].lowest_share for kind in ("normal", "ar.7", "ar.9")]
    assert lowest[0] < lowest[1] < lowest[2]
    # 12 clusters of one row each, and a few of two
    assert lowest[0] == pytest.approx(12 / 6000, rel=0.2)


def test_what_the_slice_cannot_support_is_refused_with_what_it_can() -> None:
    learnt, _ = fitted("normal")
    with pytest.raises(UsageError, match=r"cannot promise 1e-05 of rows: .* support 0.002"):
        learnt.threshold(1e-5)
    with pytest.raises(UsageError, match=r"cannot promise 0.0001 alarms a row: .* support 0.002 "):
        learnt.alarm_threshold(1e-4)
    with pytest.raises(UsageError, match=r"with 95% confidence: .* support 0.0005 "):
        learnt.alarm_threshold(4e-4, confidence=0.95)
    for bad in (0, 1, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            learnt.threshold(bad)
        with pytest.raises(UsageError, match="between 0 and 1"):
            learnt.alarm_threshold(bad)


def test_with_confidence_the_rate_stays_below_what_was_asked() -> None:
    plain = bounded = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        learnt, asked = calibrate(draw("normal", 1500, rng)), 0.02
        # The share above a score is known for normal draws
        new = np.sort(draw("normal", 20_000, rng))
        for confidence in (None, 0.95):
            over = (new >= learnt.threshold(asked, confidence=confidence)).mean() > asked
            plain += over and confidence is None
            bounded += over and confidence is not None
    assert plain > 8, "half of the plain thresholds give more"
    assert bounded <= 5, "5 % of the bounded ones may: 2 of 40, with 99 % at most 5"


def test_with_confidence_the_upper_poisson_bound_is_what_was_asked() -> None:
    learnt, _ = fitted("normal")
    threshold = learnt.alarm_threshold(0.01, confidence=0.9)
    count = learnt.rows * float(np.exp(learnt.peaks.log_at(threshold)))
    assert poisson.cdf(count, 60) < 0.1
    assert 48 < count < 54, "about 60 - 1.28 sqrt(count)"


@pytest.mark.parametrize(
    "scores", [[2.0], [1.0] * 500, [0.0, 1.0] * 250, [*range(5), float("nan")]], ids=len
)
def test_few_tied_and_constant_scores_are_conformal(scores: list[float]) -> None:
    learnt, seen = calibrate(scores), np.array(scores)[~np.isnan(scores)]
    assert learnt.shares.tail is None
    for score in (*seen[:5], -1.0):
        assert learnt.p_values(score) == pytest.approx(slow_p(seen, score))
    assert learnt.p_values(99.0) == pytest.approx(1 / (1 + len(seen)))
    assert np.isnan(learnt.p_values(np.nan))


def test_more_alarms_than_can_be_told_apart_are_refused() -> None:
    learnt, _ = fitted("ar.9")
    told = f"rows up to {learnt.run} apart are one: 0.0[0-9]+ alarms a row at the highest; ask"
    with pytest.raises(UsageError, match=f"cannot promise 0.5 alarms a row: .* {told}"):
        learnt.alarm_threshold(0.5)
    short = calibrate(draw("ar.9", 60, np.random.default_rng(0)), run=9)
    assert short.highest_alarms < short.lowest_alarms
    with pytest.raises(UsageError, match=r"hold [1-9] stretches .*, and 12 are needed for any"):
        short.alarm_threshold(0.01)


def test_a_constant_score_promises_nothing() -> None:
    with pytest.raises(UsageError, match="cannot promise 0.5 of rows"):
        calibrate(np.ones(500)).threshold(0.5)


def test_rows_without_a_score_take_time_and_no_count() -> None:
    scores = draw("normal", 2000, np.random.default_rng(0))
    gaps = np.insert(scores, 1000, np.full(500, np.nan))
    assert calibrate(gaps).rows == 2000
    np.testing.assert_array_equal(calibrate(gaps).log_p(scores), calibrate(scores).log_p(scores))


@pytest.mark.parametrize("bad", [[], [np.nan], [1.0, np.inf], [[1.0], [2.0]]])
def test_scores_that_cannot_calibrate_are_refused(bad) -> None:
    with pytest.raises(DataError, match=r"calibration: scores are \(.*one finite score"):
        calibrate(bad)


@pytest.mark.parametrize("scores", [np.ones(5), draw("ar.9", 3000, np.random.default_rng(0))])
def test_arrays_bring_back_the_same_calibration(scores: np.ndarray) -> None:
    learnt = calibrate(scores)
    again = Calibration.from_arrays(learnt.arrays())
    for name, array in learnt.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array, strict=True)
    grid = np.linspace(-9, 9, 100)
    np.testing.assert_array_equal(again.log_p(grid), learnt.log_p(grid))
    arrays = learnt.arrays()
    del arrays["peaks.tail"]
    with pytest.raises(ArtefactError, match="no array 'peaks.tail'"):
        Calibration.from_arrays(arrays)
