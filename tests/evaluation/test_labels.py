"""Few labels: reading a budget, drawing, and the mean over draws."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from seqcl.errors import UsageError
from seqcl.evaluation.base import Evaluator, Report, paired_difference
from seqcl.evaluation.clustering import Clustering
from seqcl.evaluation.knn import Knn
from seqcl.evaluation.labels import DRAWS, LabelBudget, draw_labels, evaluate_budget, parse_labels
from seqcl.evaluation.linear import Linear


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("all", LabelBudget()),
        ("1%", LabelBudget(fraction=0.01)),
        (" 10% ", LabelBudget(fraction=0.1)),
        ("12.5%", LabelBudget(fraction=0.125)),
        ("100%", LabelBudget(fraction=1.0)),
        ("5-per-class", LabelBudget(per_class=5)),
        ("ALL", LabelBudget()),
    ],
)
def test_a_budget_is_read_and_written(text: str, budget: LabelBudget) -> None:
    assert parse_labels(text) == budget
    assert parse_labels(str(budget)) == budget


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5 per class", r"Did you mean '5-per-class'\?"),
        ("5perclass", r"Did you mean '5-per-class'\?"),
        ("0.1", r"Did you mean '10%'\?"),
        ("10 percent", r"Did you mean '10%'\?"),
        ("10", r"Did you mean '10%' or '10-per-class'\?"),
        ("al", r"Did you mean 'all'\?"),
        ("none", r"needed is N%, N-per-class or all\.$"),
        ("", r"needed is N%, N-per-class or all\.$"),
        ("0%", "0% is outside"),
        ("101%", "101% is outside"),
        ("0-per-class", "at least one label per class"),
        ("-5%", "needed is N%"),
        ("nan%", "needed is N%"),
    ],
)
def test_an_unreadable_budget_says_what_was_most_likely_meant(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_labels(text)


def test_a_budget_of_two_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        LabelBudget(fraction=0.5, per_class=1)


LABELS = tuple("a" * 50 + "b" * 20 + "c" * 3 + "d")
IDS = tuple(f"r{row}" for row in range(len(LABELS)))


def drawn(budget: str, draw: int = 0) -> list[int]:
    return draw_labels(IDS, LABELS, parse_labels(budget), draw).tolist()


@pytest.mark.parametrize(
    ("budget", "counts"),
    [
        ("1%", (1, 1, 1, 1)),
        ("10%", (5, 2, 1, 1)),
        ("50%", (25, 10, 2, 1)),
        ("5-per-class", (5, 5, 3, 1)),
        ("all", (50, 20, 3, 1)),
    ],
)
def test_draws_are_stratified_with_at_least_one_label_a_class(budget, counts) -> None:
    found = Counter(LABELS[row] for row in drawn(budget))
    assert tuple(found[name] for name in "abcd") == counts


def test_draws_differ_and_repeat() -> None:
    assert drawn("10%", 0) == drawn("10%", 0)
    assert drawn("10%", 0) != drawn("10%", 1)


def test_a_smaller_budget_sees_a_part_of_a_larger_one() -> None:
    assert set(drawn("1%")) < set(drawn("10%")) < set(drawn("50%"))


def test_the_order_of_the_records_does_not_change_the_draw() -> None:
    order = np.random.default_rng(0).permutation(len(IDS))
    ids, labels = [IDS[row] for row in order], [LABELS[row] for row in order]
    found = {ids[row] for row in draw_labels(ids, labels, parse_labels("10%"), 3)}
    assert found == {IDS[row] for row in drawn("10%", 3)}


def test_every_record_is_drawn_about_equally_often() -> None:
    counts = Counter(row for draw in range(400) for row in drawn("10%", draw))
    of_a = [counts[row] for row in range(50)]
    assert np.mean(of_a) == 40
    assert np.std(of_a) < 9  # binomial: 6


def test_records_without_a_label_are_never_drawn() -> None:
    labels = (None, float("nan"), *LABELS[2:])
    found = draw_labels(IDS, labels, parse_labels("all"), 0)
    assert found.tolist() == list(range(2, len(IDS)))
    assert not len(draw_labels(IDS, [None] * len(IDS), parse_labels("1%"), 0))


def test_metrics_are_the_mean_over_draws_and_the_spread_is_told(blobs) -> None:
    test, train = blobs(60, 1, "t", distance=0.8), blobs(90, 0, distance=0.8)
    budget = parse_labels("2-per-class")
    report = evaluate_budget(Knn(), test, train, budget)
    alone = []
    for draw in range(DRAWS):
        rows = draw_labels(train.ids, train.labels, budget, draw)
        part = replace(
            train,
            values=train.values[rows],
            ids=tuple(train.ids[row] for row in rows),
            labels=tuple(train.labels[row] for row in rows),
        )
        alone.append(Knn()(test, part).metrics["accuracy"])
    assert report.metrics["accuracy"] == pytest.approx(np.mean(alone))
    assert report.details["spread"]["accuracy"] == pytest.approx(np.std(alone, ddof=1))
    assert [one["accuracy"] for one in report.details["draws"]] == alone
    low, high = report.intervals["accuracy"]
    assert low < report.metrics["accuracy"] < high
    assert report.details["notes"] == [
        "mean of 10 draws of 2-per-class of the training labels (6 records each)"
    ]


def test_more_labels_are_better(blobs) -> None:
    test, train = blobs(90, 1, "t", distance=0.5), blobs(300, 0, distance=0.5)
    found = [
        evaluate_budget(Linear(probe="ridge"), test, train, parse_labels(text)).metrics["accuracy"]
        for text in ("1%", "10%", "all")
    ]
    assert found[0] + 0.05 < found[1] < found[2]


def test_systems_are_compared_on_the_same_draws(blobs) -> None:
    trained, control = (
        evaluate_budget(
            Knn(), blobs(60, 1, "t", distance=far), blobs(60, 0, distance=far), parse_labels("10%")
        )
        for far in (2.0, 0.5)
    )
    found = paired_difference(trained, control)
    assert found is not None
    assert found.low > 0
    assert found.value == pytest.approx(trained.metrics["accuracy"] - control.metrics["accuracy"])


@pytest.mark.parametrize("budget", ["all", "100%"])
def test_all_labels_are_one_plain_evaluation(blobs, budget) -> None:
    test, train = blobs(30, 1, "t"), blobs(30, 0)
    assert evaluate_budget(Knn(), test, train, parse_labels(budget)) == Knn()(test, train)


def test_an_evaluator_that_learns_no_label_runs_once(blobs) -> None:
    test, train = blobs(30, 1, "t"), blobs(30, 0)
    assert evaluate_budget(Clustering(), test, train, parse_labels("1%")) == Clustering()(test)


class ByDraw(Evaluator):
    """Reports how many labels it saw; keeps no outcomes by record."""

    task = "seen"
    learns = True

    def __call__(self, test, reference=None) -> Report:
        seen = sum(label is not None for label in reference.labels)
        return Report("seen", {"labels": float(seen)})


def test_an_evaluator_without_outcomes_by_record_has_a_mean_and_no_interval(blobs) -> None:
    report = evaluate_budget(ByDraw(), blobs(9, 1), blobs(30, 0), parse_labels("2-per-class"))
    assert report.metrics == {"labels": 6.0}
    assert report.intervals == {}
    assert report.details["spread"] == {"labels": 0.0}
