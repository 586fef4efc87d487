"""AnomalyDetector has scikit-learn's conventions."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from seqcl import AnomalyDetector
from seqcl.errors import UsageError


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2))


def test_it_scores_predicts_explains_and_is_cloned() -> None:
    watch = AnomalyDetector(window=16, far=0.3, threads=1).fit([rows(700, 0), rows(700, 1)])
    test = rows(300, 2)
    test[150:160, 1] += 8.0
    scores = watch.anomaly_scores(test)
    assert 145 <= scores.argmax() < 165
    assert np.array_equal(watch.score_samples(test), -scores)
    assert watch.predict(test)[155] == -1
    assert (watch.predict(test) == 1).mean() > 0.4
    assert watch.p_values(test)[155] < 0.05
    assert watch.explain(test, int(scores.argmax())).shares.argmax() == 1
    again = clone(watch).fit([rows(700, 0), rows(700, 1)])
    assert np.array_equal(again.anomaly_scores(test), scores)


def test_its_faults_are_told() -> None:
    watch = AnomalyDetector(window=16, threads=1)
    with pytest.raises(NotFittedError):
        watch.anomaly_scores(rows(50, 0))
    watch.fit(rows(200, 0))
    with pytest.raises(ValueError, match="X has 3 channels, fit saw 2"):
        watch.anomaly_scores(np.zeros((50, 3)))
    with pytest.raises(ValueError, match="recordings are"):
        watch.fit([np.zeros((50, 3)), np.zeros((50, 2))])
    with pytest.raises(UsageError, match="cannot promise"):
        watch.predict(rows(100, 1))
