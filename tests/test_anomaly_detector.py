"""AnomalyDetector has scikit-learn's conventions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from seqcl import AnomalyDetector
from seqcl.errors import UsageError


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2))


def test_it_scores_predicts_explains_and_is_cloned() -> None:
    normal = [rows(1_200, 0), rows(1_200, 1)]
    watch = AnomalyDetector(window=16, far=0.4, threads=1).fit(normal)
    test = rows(300, 2)
    test[150:160, 1] += 8.0
    scores = watch.anomaly_scores(test)
    assert 145 <= scores.argmax() < 165
    assert np.array_equal(watch.score_samples(test), -scores)
    assert watch.predict(test)[155] == -1
    assert (watch.predict(test) == 1).mean() > 0.4
    assert watch.p_values(test)[155] < 0.05
    assert watch.explain(test, int(scores.argmax())).shares.argmax() == 1
    again = clone(watch).fit(normal)
    assert np.array_equal(again.anomaly_scores(test), scores)


def test_its_faults_are_told() -> None:
    watch = AnomalyDetector(window=16, threads=1)
    with pytest.raises(NotFittedError):
        watch.anomaly_scores(rows(50, 0))
    with pytest.warns(UserWarning, match="window of 16 rows, and left out: recording 1"):
        watch.fit([rows(200, 0), rows(20, 1)])
    with pytest.raises(ValueError, match="X has 3 channels, fit saw 2"):
        watch.anomaly_scores(np.zeros((50, 3)))
    with pytest.raises(ValueError, match="recordings are"):
        watch.fit([np.zeros((50, 3)), np.zeros((50, 2))])
    with pytest.raises(UsageError, match="cannot promise"):
        watch.set_params(far=0.005).predict(rows(100, 1))
    with pytest.raises(ValueError, match="one recording is scored at a time; got a list of 2"):
        watch.anomaly_scores([rows(50, 0), rows(50, 1)])
    for row in (-1, 100):
        with pytest.raises(IndexError, match=f"row {row}: X has rows 0 to 99"):
            watch.explain(rows(100, 1), row)


@pytest.mark.parametrize(
    ("option", "value"),
    [("window", 3), ("window", 2.5), ("weights", "best"), ("calibration", 1.5), ("far", 0)],
)
def test_options_without_a_meaning_are_refused_at_fit(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option} is {value!r}; give"):
        AnomalyDetector(**{option: value}).fit(rows(200, 0))


@pytest.mark.filterwarnings("error")
def test_infinite_values_are_refused_in_one_sentence() -> None:
    for bad in (np.inf, -np.inf, 1e300):
        values = rows(200, 0)
        values[5, 1] = bad
        with pytest.raises(ValueError, match="infinite in float32; give NaN"):
            AnomalyDetector().fit(values)


def test_columns_of_a_table_keep_the_order_of_fit() -> None:
    frame = pd.DataFrame(rows(1_200, 0), columns=["flow", "heat"])
    watch = AnomalyDetector(window=16, threads=1).fit([frame, frame])
    assert watch.feature_names_in_.tolist() == ["flow", "heat"]
    scores = watch.anomaly_scores(frame)
    assert np.array_equal(watch.anomaly_scores(frame.to_numpy()), scores)
    with pytest.raises(ValueError, match="columns are heat, flow and fit saw flow, heat"):
        watch.predict(frame[["heat", "flow"]])
    with pytest.raises(ValueError, match="has columns heat, flow and the first one flow, heat"):
        watch.fit([frame, frame[["heat", "flow"]]])
    assert not hasattr(watch.fit(frame.to_numpy()), "feature_names_in_")


def test_lists_of_numbers_are_one_recording() -> None:
    watch = AnomalyDetector(window=16, weights="equal", threads=1).fit(rows(200, 0).tolist())
    again = AnomalyDetector(window=16, weights="equal", threads=1).fit(rows(200, 0))
    scores = again.anomaly_scores(rows(100, 1))
    assert np.array_equal(watch.anomaly_scores(rows(100, 1).tolist()), scores)
    several = again.fit([rows(200, 0).tolist(), rows(200, 1).tolist()])
    assert several.n_features_in_ == 2


def test_without_a_rate_half_a_percent_is_predicted_promised_or_not() -> None:
    watch = AnomalyDetector(window=16, weights="equal", threads=1).fit(rows(2_000, 0))
    test = rows(300, 2)
    test[150:160, 1] += 30.0
    assert watch.predict(test)[155] == -1
    assert (watch.predict(test)[:120] == 1).mean() > 0.9


def test_no_recording_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="X: is empty"):
        AnomalyDetector().fit([])
