"""What is known and what is a stranger: the curve, the threshold, the error."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from seqcl.retrieval import recognition
from seqcl.retrieval.alignment import Aligned, Alignment, Cut
from seqcl.retrieval.ranking import Ranker
from seqcl.retrieval.recognition import (
    Sample,
    _logistic,
    confidence,
    equal_error,
    evidence,
    learn_recognition,
)


def test_evidence_is_the_score_and_its_lead_over_the_median_of_the_others() -> None:
    best = tuple(Alignment(place, 0.0, score) for place, score in enumerate((0.9, 0.8, 0.3, 0.2)))
    assert evidence(Aligned(best, 0.1), 8) == (0.9, pytest.approx(0.6), 3.0)
    assert evidence(Aligned(best[:1], 0.2), 1) == (0.9, pytest.approx(0.7), 0.0)
    assert evidence(Aligned((), 0.0), 2) == (0.0, 0.0, 1.0)


def test_weights_are_those_of_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 4 == 0).astype(float)
    x = rng.normal(size=(400, 3)) + y[:, None] * [1.0, 0.5, 0.0]
    centred = (x - x.mean(0)) / x.std(0)
    reference = LogisticRegression(C=1e3 / 400, class_weight="balanced", tol=1e-10, max_iter=999)
    reference.fit(centred, y)
    found = _logistic(x, y)
    np.testing.assert_allclose(found[1:] * x.std(0), reference.coef_[0], atol=1e-4)
    np.testing.assert_allclose(found[0] + found[1:] @ x.mean(0), reference.intercept_[0], atol=1e-4)


def test_separable_samples_give_finite_weights() -> None:
    x = np.array([[0.1, 0, 0], [0.2, 0, 0], [0.8, 0, 0], [0.9, 0, 0]])
    weights = _logistic(x, np.array([0.0, 0.0, 1.0, 1.0]))
    assert np.isfinite(weights).all()
    assert confidence({"weights": weights.tolist()}, (0.9, 0, 0)) > 0.9
    assert confidence(None, (0.9, 0, 0)) is None


def test_the_equal_error_of_known_distributions() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])
    known = np.array([False] * 4 + [True] * 4)
    threshold, error = equal_error(scores, known)
    assert (threshold, error) == (0.6, 0.25)
    assert equal_error(np.array([0.0, 1.0]), np.array([False, True])) == (1.0, 0.0)


def queries(
    ranker: Ranker, count: int, starts: list[int], *, share: float = 1.0, noise: float
) -> list[Sample]:
    """Return queries of the eight recordings in turn: a share of their vectors, and noise."""
    rng, made = np.random.default_rng(2), []
    for number in range(count):
        recording = number % 8
        ids = ranker.entries.ids_of(ranker.entries.recording == recording)[: len(starts)]
        vectors = share * ranker.shards.read(ids) + noise * rng.normal(size=(len(starts), 16))
        made.append(Sample(recording, 0, (Cut(vectors.astype(np.float32), np.array(starts)),)))
    return made


def test_recordings_are_known_and_strangers_are_not(ranker: Ranker) -> None:
    learnt = learn_recognition(ranker, queries(ranker, 40, [0, 4, 8], noise=0.05))
    assert learnt is not None
    assert learnt["found"] == 1.0
    assert learnt["error"] < 0.05


def test_a_curve_that_is_no_better_than_chance_is_none(
    ranker: Ranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = queries(ranker, 160, [0], share=0.02, noise=1.0)
    assert learn_recognition(ranker, samples) is None
    monkeypatch.setattr(recognition, "_USELESS", 1.0)
    learnt = learn_recognition(ranker, samples)
    assert learnt is not None
    assert learnt["error"] > 0.4


def test_too_few_samples_teach_nothing(ranker: Ranker) -> None:
    assert learn_recognition(ranker, []) is None
