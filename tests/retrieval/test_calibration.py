"""Probabilities rise with the score, are those of what was counted, and unknown where none was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from seqcl.data.options import DataOptions
from seqcl.retrieval import calibration
from seqcl.retrieval.calibration import calibrate, expected_error, isotonic, probability
from seqcl.retrieval.ranking import Ranker


def test_pools_are_those_of_isotonic_regression() -> None:
    rng = np.random.default_rng(0)
    x = np.round(rng.uniform(size=4000), 2)
    y = (rng.uniform(size=4000) < x).astype(float)
    knots, values = isotonic(x, y)
    assert (np.diff(knots) > 0).all()
    assert (np.diff(values) >= 0).all()
    reference = IsotonicRegression(out_of_bounds="clip").fit(x, y).predict(knots)
    np.testing.assert_allclose(values, reference, atol=0.05)  # half a count in each pool


def test_no_score_promises_certainty() -> None:
    _, values = isotonic(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert values.min() == pytest.approx(0.5 / 3)  # a pool of two: (0 + 1/2) / (2 + 1)
    assert values.max() == pytest.approx(2.5 / 3)


def test_the_error_is_the_gap_of_probability_and_frequency() -> None:
    predicted = np.array([0.05] * 10 + [0.95] * 10)
    assert expected_error(predicted, np.array([0.0] * 10 + [1.0] * 10)) == pytest.approx(0.05)
    assert expected_error(predicted, np.array([1.0] * 10 + [0.0] * 10)) == pytest.approx(0.95)


def test_a_probability_is_read_between_the_knots() -> None:
    curve = {"scores": [0.0, 1.0], "probabilities": [0.1, 0.5]}
    assert probability(curve, 0.5) == pytest.approx(0.3)
    assert probability(curve, -1.0) == 0.1
    assert probability(None, 0.5) is None


def test_above_what_was_counted_there_is_no_probability() -> None:
    curve = {"scores": [0.0, 0.6], "probabilities": [0.1, 0.5], "highest": 0.8}
    assert probability(curve, 0.8) == 0.5
    assert probability(curve, 0.800001) is None
    del curve["highest"]  # an index of before it was noted
    assert probability(curve, 0.6) == 0.5
    assert probability(curve, 0.7) is None


def test_a_query_that_is_in_the_index_gets_no_probability(ranker: Ranker) -> None:
    curve = calibrate(ranker)
    assert curve is not None
    hits = ranker.rank(ranker.shards.read(np.array([0])), 8)
    found = [probability(curve, hit.score) for hit in hits]
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)
    assert found[0] is None
    assert all(0 < value < 1 for value in found[1:])


def test_a_query_finds_neither_its_own_steps_nor_as_a_stranger_its_source(ranker: Ranker) -> None:
    entries = ranker.entries
    for entry in (0, 5, len(entries) - 1):
        ids = np.array([entry])
        recording = int(entries.recording_of(ids)[0])
        known, stranger = calibration._two_ways(entries, entry, recording)
        for other in entries.ids.tolist():
            place = int(entries.recording_of(np.array([other]))[0])
            gap = abs(int(entries.start_of(np.array([other]))[0] - entries.start_of(ids)[0]))
            assert known[other] == (place != recording or gap >= 16)
            assert stranger[other] == (entries.source_of[place] != entries.source_of[recording])


def test_sources_that_can_be_told_apart_get_probabilities_that_say_so(
    update: Callable[..., Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    for number in range(12):
        shape = np.tile(rng.normal(size=16), 8)  # a period of one window: every window is alike
        values = shape + 0.3 * rng.normal(size=len(shape))
        (tmp_path / f"{number}.csv").write_text("\n".join(["x", *map(str, values.round(6))]))
    ranker, _ = update(tmp_path, options=DataOptions(window=16, hop=16))
    curve = calibrate(ranker)
    assert curve is not None
    assert probability(curve, 0.95) > 0.8
    assert probability(curve, 0.3) < 0.2
    assert curve["error"] < 0.1
    assert calibrate(ranker) == curve


def test_an_index_of_single_entries_cannot_tell(update: Callable[..., Any], tmp_path: Path) -> None:
    for number in range(30):
        values = np.random.default_rng(number).normal(size=16)
        (tmp_path / f"{number}.csv").write_text("\n".join(["x", *map(str, values.round(6))]))
    ranker, _ = update(tmp_path, options=DataOptions(window=16, hop=16))
    assert calibrate(ranker) is None
