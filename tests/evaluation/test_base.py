"""Rows, flat records, and paired differences of reports."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.evaluation.base import RESAMPLES, Report, Row, paired_difference, records
from seqcl.evaluation.outcomes import Decisions, Means
from seqcl.metrics.classification import class_counts, classification_scores


def decisions(true: np.ndarray, predicted: np.ndarray, task: str = "linear") -> Report:
    ids = tuple(f"r{row}" for row in range(len(true)))
    return Report.of_outcomes(task, Decisions(ids, true, predicted, 3), {})


@pytest.fixture
def pair() -> tuple[Report, Report]:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 80)
    better = np.where(rng.random(80) < 0.9, true, (true + 1) % 3)
    worse = np.where(rng.random(80) < 0.5, better, (true + 2) % 3)
    return decisions(true, better), decisions(true, worse)


def test_the_difference_is_that_of_the_metrics_with_an_interval_around_it(pair) -> None:
    found = paired_difference(*pair)
    assert found is not None
    gap = pair[0].metrics["accuracy"] - pair[1].metrics["accuracy"]
    assert (found.metric, found.value) == ("accuracy", gap)
    assert 0 < found.low < gap < found.high


def test_the_interval_is_that_of_a_loop_over_the_same_resamples(pair) -> None:
    first, second = (report.outcomes for report in pair)
    assert isinstance(first, Decisions)
    assert isinstance(second, Decisions)
    rng = np.random.default_rng(0)
    gaps = []
    for rows in rng.integers(0, 80, (RESAMPLES, 80)):
        f1 = [
            classification_scores(class_counts(one.true[rows], one.predicted[rows], 3))["macro_f1"]
            for one in (first, second)
        ]
        gaps.append(float(f1[0] - f1[1]))
    found = paired_difference(*pair, metric="macro_f1")
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(gaps, (0.025, 0.975))))


def test_a_report_does_not_differ_from_itself(pair) -> None:
    found = paired_difference(pair[0], pair[0])
    assert found is not None
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_pairing_narrows_the_interval() -> None:
    values = np.random.default_rng(1).random(200)
    ids = tuple(map(str, range(200)))
    first, second = (
        Report.of_outcomes("retrieval", Means(ids, {"map": part}), {})
        for part in (values, values - 0.01)
    )
    found = paired_difference(first, second)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))
    low, high = first.intervals["map"]
    assert high - low > 0.05


def test_reports_of_other_records_or_tasks_do_not_compare(pair) -> None:
    zero = np.zeros(3, int)
    with pytest.raises(ValueError, match="80 and 3 test records are not the same"):
        paired_difference(pair[0], decisions(zero, zero))
    with pytest.raises(ValueError, match="linear and knn do not compare"):
        paired_difference(pair[0], decisions(zero, zero, "knn"))


def test_a_task_without_outcomes_by_record_has_no_interval() -> None:
    report = Report("clustering", {"ari": 0.5})
    assert paired_difference(report, report) is None


def test_a_row_has_a_report_or_a_reason() -> None:
    report = Report("knn", {"accuracy": 0.5})
    assert Row("seqcl", report).task == "knn"
    for both in ((None, None), (report, "why")):
        with pytest.raises(ValueError, match="a report or a reason"):
            Row("seqcl", *both)


def test_records_are_flat(pair) -> None:
    report = Report(
        "knn", {"accuracy": 0.5}, {"accuracy": (0.4, 0.6)}, {"spread": {"accuracy": 0.1}}
    )
    rows = [Row("seqcl", report, seed=3), Row("raw", None, "unequal lengths", "knn")]
    assert records(rows) == [
        {
            "system": "seqcl",
            "task": "knn",
            "seed": 3,
            "accuracy": 0.5,
            "accuracy_low": 0.4,
            "accuracy_high": 0.6,
            "accuracy_sd": 0.1,
        },
        {"system": "raw", "task": "knn", "seed": None, "reason": "unequal lengths"},
    ]
