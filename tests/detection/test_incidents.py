"""Incidents: each rule by a case, all of them against a slow reference, online as offline."""

from __future__ import annotations

import json
from itertools import groupby

import numpy as np
import pytest
from scipy.signal import lfilter

from seqcl.detection.calibration import calibrate
from seqcl.detection.incidents import (
    Following,
    Incident,
    IncidentTracker,
    Rules,
    expected_incidents,
    find_incidents,
    following,
    release_for,
    tenth,
    trace_incidents,
)
from seqcl.errors import ArtefactError

GRID = [
    Rules(3, release, min_length, merge_gap, cool_down)
    for release in (None, 2)
    for min_length in (1, 4)
    for merge_gap in (0, 3)
    for cool_down in (0, 9)
]


def spans(scores: list[float], **options) -> list[tuple[int, int]]:
    return [(found.start, found.end) for found in find_incidents(scores, Rules(3, **options))]


def slow(scores: np.ndarray, rules: Rules) -> list[tuple[int, int]]:
    """Walk from one beginning to the next, looking ahead for its end."""
    found, row = [], 0
    while row < len(scores):
        if not scores[row] >= rules.threshold:
            row += 1
            continue
        end = row
        while True:
            while end + 1 < len(scores) and scores[end + 1] >= rules.low:
                end += 1
            near = range(end + 1, min(len(scores), end + 2 + rules.merge_gap))
            again = [step for step in near if scores[step] >= rules.threshold]
            if not again:
                break
            end = again[0]
        reported = end - row + 1 >= rules.min_length
        found += [(row, end)] if reported else []
        row = end + 1 + (rules.cool_down if reported else 0)
    return found


def noise(seed: int, rows: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = np.round(rng.exponential(2.5, rows), 1)
    scores[rng.random(rows) < 0.05] = np.nan
    return scores


def test_an_incident_is_a_run_at_or_above_the_threshold() -> None:
    assert find_incidents([0, 3, 5, 5, 0, 9], Rules(3)) == [
        Incident(1, 3, 2, 5.0, 3),
        Incident(5, 5, 5, 9.0, 1),
    ]
    assert find_incidents([], Rules(3)) == []


def test_it_goes_on_to_the_release() -> None:
    assert spans([2, 3, 2, 2, 1, 2, 3], release=2) == [(1, 3), (6, 6)]


def test_one_that_is_too_short_is_not_reported_and_cools_nothing_down() -> None:
    assert spans([3, 0, 3, 3, 3], min_length=3, cool_down=9) == [(2, 4)]


def test_pauses_up_to_the_gap_are_bridged_once_the_threshold_is_reached_again() -> None:
    assert spans([3, 0, 0, 3, 0, 0, 0, 3], merge_gap=2) == [(0, 3), (7, 7)]
    assert spans([3, 0, 2, 0, 3], merge_gap=2, release=2) == [(0, 0), (4, 4)]


def test_none_begins_in_the_cool_down() -> None:
    assert spans([3, 0, 3, 0, 3], cool_down=2) == [(0, 0), (4, 4)]
    assert spans([3, 0, 3, 3, 3], cool_down=2) == [(0, 0), (3, 4)], "late, but it begins"


def test_a_row_without_a_score_is_below_the_release() -> None:
    nan = float("nan")
    assert spans([3, nan, 3]) == [(0, 0), (2, 2)]
    assert spans([3, nan, 3], merge_gap=1) == [(0, 2)]


@pytest.mark.parametrize("rules", GRID, ids=str)
def test_it_finds_what_a_slow_reference_finds(rules: Rules) -> None:
    total = 0
    for seed in range(5):
        scores = noise(seed)
        found = find_incidents(scores, rules)
        assert [(one.start, one.end) for one in found] == slow(scores, rules)
        for one in found:
            stretch = scores[one.start : one.end + 1]
            assert one.score == np.nanmax(stretch)
            assert one.peak == one.start + np.nanargmax(stretch)
            assert one.above == (stretch >= rules.threshold).sum()
        total += len(found)
    assert total > 5


@pytest.mark.parametrize("rules", GRID, ids=str)
def test_row_by_row_and_through_json_it_finds_the_same(rules: Rules) -> None:
    scores, changes = noise(7), []
    learnt = calibrate(noise(8))
    tracker = IncidentTracker(rules, learnt)
    for row, score in enumerate(scores):
        changes += tracker.push(row, score)
        state = json.loads(json.dumps(tracker.state()))
        tracker = IncidentTracker(rules, learnt)
        tracker.restore(state)
    changes += tracker.finish()
    closed = [change.incident for change in changes if change.kind == "closed"]
    assert closed == find_incidents(scores, rules, learnt)
    assert [change.kind for change in changes] == ["opened", "closed"] * len(closed)
    assert all(one.p_value == learnt.p_values(one.score) for one in closed)


def test_it_is_announced_at_its_minimum_length_and_closed_after_the_gap() -> None:
    tracker = IncidentTracker(Rules(3, min_length=2, merge_gap=1))
    events = [
        (row, change.kind, change.incident.end)
        for row, score in enumerate([3, 3, 4, 0, 0, 0])
        for change in tracker.push(row, score)
    ]
    assert events == [(1, "opened", 1), (4, "closed", 2)]


def test_rows_that_are_left_out_are_rows_without_a_score() -> None:
    tracker = IncidentTracker(Rules(3, merge_gap=2))
    assert [change.kind for change in tracker.push(0, 3)] == ["opened"]
    assert tracker.push(3, 3) == [], "two rows were left out"
    assert [change.kind for change in tracker.push(7, 3)] == ["closed", "opened"]


def test_memory_does_not_grow_with_the_rows() -> None:
    tracker = IncidentTracker(Rules(1, merge_gap=50))
    sizes = []
    for row in range(2000):
        tracker.push(10_000 + row, 1 + row % 7)
        sizes.append(len(json.dumps(tracker.state())))
    assert len(list(groupby(sizes[1200:]))) < 5


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="release 4 must not exceed 3"):
        Rules(3, release=4)
    with pytest.raises(ValueError, match="must not exceed nan"):
        Rules(float("nan"))
    with pytest.raises(ValueError, match="min_length is at least 1"):
        Rules(3, min_length=0)
    tracker = IncidentTracker(Rules(3))
    tracker.push(5, 1.0)
    with pytest.raises(ValueError, match="row 5 after row 5: rows must rise"):
        tracker.push(5, 1.0)
    with pytest.raises(ArtefactError, match="state of incidents: 'found'; start without it"):
        tracker.restore({"row": 3})


@pytest.mark.parametrize("min_length", [1, 6])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.3, 0.48])
def test_the_incidents_told_are_those_that_noise_gives(share: float, min_length: int) -> None:
    """95 % of the intervals hold the count: of 20, 16 leave room for chance."""
    held = 0
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(size=16_000)
        scores = lfilter([1], [1, -0.8], noise)
        learnt = calibrate(scores[:4000])
        threshold = learnt.shares.score_at(share)
        rules = Rules(
            threshold, release_for(learnt, threshold), min_length, merge_gap=learnt.run - 1
        )
        told = expected_incidents(learnt, rules, 12_000)
        found = len(find_incidents(scores[4000:], rules))
        held += told.low <= found <= told.high
    assert held >= 16


def test_release_is_at_twice_the_p_value_and_never_below_the_median() -> None:
    scores = np.random.default_rng(0).normal(size=2000)
    learnt = calibrate(scores)
    for share, twice in ((0.01, 0.02), (0.2, 0.4), (0.4, 0.5), (0.49, 0.5)):
        release = release_for(learnt, learnt.shares.score_at(share))
        assert learnt.p_values(release) == pytest.approx(twice, rel=0.01)
        assert release >= np.median(scores)
    assert release_for(calibrate(np.ones(50)), 1.0) == 1.0


def drifting(seed: int, rows: int = 6_000) -> np.ndarray:
    """Return dependent scores whose mean and spread grow, some missing."""
    rng = np.random.default_rng(seed)
    scores = lfilter([0.3], [1, -0.7], rng.normal(size=rows)) * np.linspace(1, 3, rows)
    scores += np.linspace(0, 8, rows)
    scores[rng.random(rows) < 0.02] = np.nan
    return scores


@pytest.mark.parametrize("counts", ["rows", "incidents"])
@pytest.mark.parametrize("rate", [0.002, 0.05])
def test_a_threshold_that_follows_keeps_the_rate_that_one_that_stays_breaks(
    counts: str, rate: float
) -> None:
    scores = drifting(0)
    learnt = calibrate(scores[:1_000])
    law = learnt.shares if counts == "rows" else learnt.peaks
    follow = following(learnt, rate, counts)  # type: ignore[arg-type]
    test = scores[1_000:]
    known = int(np.isfinite(test).sum())

    def alarms(follows: Following | None) -> int:
        threshold = law.score_at(rate)
        rules = Rules(threshold, release_for(learnt, threshold), following=follows)
        incidents, thresholds = trace_incidents(test, rules)
        return int((test >= thresholds).sum()) if counts == "rows" else len(incidents)

    most = rate * known + 1 + (np.nanmax(test) - law.score_at(rate)) / follow.step
    assert alarms(follow) <= most
    if counts == "rows":
        assert alarms(None) > 3 * most
    if rate == 0.05:
        assert 0.8 * rate * known < alarms(follow) < 1.3 * rate * known


def test_each_row_moves_the_threshold_by_what_it_was() -> None:
    scores = drifting(3, 500)
    follow = Following(0.05, 0.4, "rows")
    thresholds = trace_incidents(scores, Rules(2.0, 1.5, following=follow))[1]
    expected, at = [], 2.0
    for score in scores.tolist():
        expected.append(at)
        if not np.isnan(score):
            at += 0.4 * ((score >= at) - 0.05)
    np.testing.assert_allclose(thresholds, expected, atol=1e-12)


def test_release_moves_with_the_threshold_and_an_incident_counts_when_it_is_reported() -> None:
    follow = Following(0.1, 1.0, "incidents")
    rules = Rules(3.0, 2.0, min_length=2, following=follow)
    incidents, thresholds = trace_incidents([3, 2.5, 2.5, 3.2, 5, 3, 5], rules)
    # begins at 3.0 (+.1), is reported at row 1 (+1 -.1); 2.5 is below the release, which is then 3
    np.testing.assert_allclose(thresholds, [3.0, 3.1, 4.0, 3.9, 3.8, 3.9, 4.8])
    assert [(one.start, one.end) for one in incidents] == [(0, 1), (4, 6)]


def test_a_threshold_goes_on_where_it_stood_in_another_process() -> None:
    scores = drifting(1, 900)
    rules = Rules(2.0, 1.0, merge_gap=3, following=Following(0.01, 0.5))
    whole = trace_incidents(scores, rules)[0]
    tracker, found = IncidentTracker(rules), []
    for row, score in enumerate(scores.tolist()):
        found += tracker.push(row, score)
        if row == 444:
            state = json.loads(json.dumps(tracker.state()))
            tracker = IncidentTracker(rules)
            tracker.restore(state)
    found += tracker.finish()
    assert [change.incident for change in found if change.kind == "closed"] == whole
    for fault in ("high", float("nan"), None):
        with pytest.raises(ArtefactError):
            tracker.restore({**state, "shift": fault})


def test_a_shift_of_another_rate_or_of_before_there_were_any_is_left_behind() -> None:
    rules = Rules(2.0, following=Following(0.01, 0.5))
    tracker = IncidentTracker(rules)
    for row, score in enumerate(drifting(1, 300).tolist()):
        tracker.push(row, score)
    state = json.loads(json.dumps(tracker.state()))
    assert tracker.threshold != 2.0
    old = {name: state[name] for name in ("row", "found", "paused", "free_from")}
    for others, given in (
        (Rules(2.0), state),
        (Rules(2.0, following=Following(0.02, 0.5)), state),
        (rules, old),
    ):
        again = IncidentTracker(others)
        again.restore(given)
        assert again.threshold == 2.0


@pytest.mark.parametrize("rate", [0.003, 0.1, 0.3])
def test_a_state_that_lasts_becomes_usual_and_the_normal_one_after_it_is_no_incident(
    rate: float,
) -> None:
    rng = np.random.default_rng(4)
    scores = lfilter([0.4], [1, -0.8], rng.normal(size=22_000))
    learnt = calibrate(scores[:2_000])
    test = scores[2_000:]
    test[2_000:10_000] += 4
    follow = following(learnt, rate, "incidents")
    rules = Rules(learnt.peaks.score_at(rate), merge_gap=learnt.run - 1, following=follow)
    incidents, thresholds = trace_incidents(test, rules)
    inside = np.zeros(len(test), bool)
    for one in incidents:
        inside[one.start : one.end + 1] = True
    assert len(incidents) <= rate * len(test) + 1 + (test.max() - rules.threshold) / follow.step
    assert inside[12_000:].mean() < 0.5
    assert inside[8_000:10_000].mean() < 0.6
    assert max(one.end - one.start for one in incidents) < 20 / rate
    assert thresholds[12_000:].mean() > np.quantile(scores[:2_000], 0.2)
    if rate == 0.003:
        count = sum(one.start >= 12_000 for one in incidents)
        assert 0.5 * rate * 8_000 <= count <= 1.5 * rate * 8_000


@pytest.mark.parametrize(("rate", "step"), [(0.0, 1.0), (1.0, 1.0), (0.1, 0.0), (0.1, -1.0)])
def test_a_threshold_that_cannot_follow_is_refused(rate: float, step: float) -> None:
    with pytest.raises(ValueError, match="Following"):
        Following(rate, step)


def test_scores_that_never_differ_still_let_a_threshold_move() -> None:
    flat = calibrate(np.zeros(100))
    assert tenth(flat) == 0.01
    for counts in ("rows", "incidents"):
        assert following(flat, 0.01, counts).step == 5 * tenth(flat)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.4])
def test_a_step_is_five_tenths_and_no_row_moves_a_threshold_by_more_than_half_of_one(
    rate: float,
) -> None:
    learnt = calibrate(drifting(2)[:1_000])
    worth = learnt.shares.score_at(0.01) - learnt.shares.score_at(0.1)
    step = following(learnt, rate, "rows").step
    assert step == pytest.approx(worth * min(5, 0.5 / rate))


def test_a_silence_teaches_a_threshold_nothing() -> None:
    scores = drifting(5, 900)
    measured = np.ones(900, bool)
    measured[300:600] = False
    rules = Rules(2.0, following=Following(0.05, 0.4, "rows"))
    thresholds = trace_incidents(scores, rules, measured=measured)[1]
    assert (thresholds[301:601] == thresholds[300]).all()
    without = trace_incidents(scores[measured], rules)[1]
    np.testing.assert_allclose(thresholds[measured], without)
