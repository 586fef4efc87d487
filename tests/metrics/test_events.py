"""Incidents that are found, missed, late or false."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.metrics.events import event_scores, located, point_adjusted_f1


def _steps(length: int, *runs: tuple[int, int]) -> np.ndarray:
    steps = np.zeros(length, bool)
    for first, last in runs:
        steps[first : last + 1] = True
    return steps


def test_alarms_are_counted_by_the_anomalies_that_they_touch() -> None:
    labels = _steps(100, (10, 19), (40, 49), (70, 79))
    alarms = _steps(100, (8, 12), (15, 16), (47, 60), (90, 91))
    scores = event_scores(labels, alarms)
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.precision == pytest.approx(3 / 4)
    assert scores.false_alarms == 1
    assert scores.false_share == pytest.approx((2 + 11 + 2) / 70)
    assert scores.delay == pytest.approx((0 + 7) / 2)  # raised before its start counts as at once


def test_a_late_alarm_counts_within_the_tolerance() -> None:
    labels, alarms = _steps(50, (10, 19)), _steps(50, (22, 23))
    assert event_scores(labels, alarms).recall == 0
    late = event_scores(labels, alarms, tolerance=3)
    assert (late.recall, late.precision, late.delay) == (1, 1, 12)


def test_what_cannot_be_counted_is_nan() -> None:
    quiet = event_scores(_steps(9, (2, 3)), _steps(9))
    assert quiet.recall == 0
    assert np.isnan(quiet.precision)
    assert np.isnan(quiet.delay)
    assert np.isnan(event_scores(_steps(9), _steps(9, (1, 1))).recall)
    with pytest.raises(ValueError, match=r"\(9,\) and alarms \(8,\)"):
        event_scores(_steps(9), _steps(8))


def test_the_archive_counts_a_peak_near_its_one_anomaly() -> None:
    labels, scores = _steps(1000, (500, 519)), np.zeros(1000)
    for peak, is_near in ((500, True), (401, True), (400, False), (618, True), (619, False)):
        scores[:] = 0
        scores[peak] = 1
        assert located(labels, scores) == is_near
    with pytest.raises(ValueError, match="2 anomalies"):
        located(_steps(9, (1, 1), (3, 3)), np.zeros(9))


@pytest.mark.parametrize("seed", range(5))
def test_the_point_adjusted_f1_is_the_highest_of_any_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros(80, bool)
    labels[10:14] = labels[30:31] = labels[60:75] = True
    scores = np.round(rng.normal(size=80), 1)
    best = 0.0
    for threshold in np.unique(scores):
        raised = scores >= threshold
        for first, last in ((10, 14), (30, 31), (60, 75)):
            raised[first:last] = raised[first:last].any()
        right = (raised & labels).sum()
        best = max(best, 2 * right / (raised.sum() + labels.sum()))
    assert point_adjusted_f1(labels, scores) == pytest.approx(best)
    assert np.isnan(point_adjusted_f1(np.zeros(80, bool), scores))


def test_random_scores_have_a_high_point_adjusted_f1_where_anomalies_are_long() -> None:
    labels = np.arange(10_000) % 2_000 >= 1_800
    drawn = np.random.default_rng(0).random(10_000)
    assert point_adjusted_f1(labels, drawn) > 0.9
