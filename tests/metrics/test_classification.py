"""Class metrics against scikit-learn, closed forms, and resamples against repeated records."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from seqcl.metrics.classification import class_counts, classification_scores, confusion_matrix


def codes(n: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, n_classes, n)
    return true, np.where(rng.random(n) < 0.6, true, rng.integers(0, n_classes, n))


def scores(true: np.ndarray, predicted: np.ndarray, n_classes: int) -> dict[str, float]:
    found = classification_scores(class_counts(true, predicted, n_classes))
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize(("n", "n_classes"), [(1, 2), (7, 3), (40, 12), (500, 5)])
def test_the_metrics_are_those_of_scikit_learn(n: int, n_classes: int) -> None:
    true, predicted = codes(n, n_classes, n)
    found = scores(true, predicted, n_classes)
    macro = {"average": "macro", "zero_division": 0}
    present = np.unique(true)
    assert found == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(true, predicted),
            "macro_f1": metrics.f1_score(true, predicted, **macro),
            "macro_precision": metrics.precision_score(true, predicted, **macro),
            "macro_recall": metrics.recall_score(true, predicted, **macro),
            "balanced_accuracy": metrics.recall_score(
                true, predicted, labels=present, average="macro"
            ),
        }
    )


def test_the_confusion_matrix_has_true_classes_in_rows() -> None:
    true, predicted = codes(60, 4, 0)
    expected = metrics.confusion_matrix(true, predicted, labels=range(4))
    assert (confusion_matrix(true, predicted, 4) == expected).all()


def test_a_resample_counts_a_record_as_often_as_it_was_drawn() -> None:
    true, predicted = codes(30, 5, 1)
    weights = np.random.default_rng(2).integers(0, 4, (6, 30))
    together = classification_scores(class_counts(true, predicted, 5, weights))
    for row, counts in enumerate(weights):
        alone = scores(np.repeat(true, counts), np.repeat(predicted, counts), 5)
        assert {name: value[row] for name, value in together.items()} == pytest.approx(alone)


def test_no_error_gives_one_and_nothing_right_gives_zero() -> None:
    true = np.array([0, 1, 2, 0])
    assert set(scores(true, true, 3).values()) == {1.0}
    assert set(scores(true, (true + 1) % 3, 3).values()) == {0.0}


def test_one_constant_prediction_of_k_equal_classes_has_a_closed_form() -> None:
    true = np.repeat(np.arange(4), 5)
    found = scores(true, np.zeros_like(true), 4)
    assert found["accuracy"] == found["balanced_accuracy"] == 0.25
    assert found["macro_f1"] == pytest.approx(0.4 / 4)


def test_a_class_that_is_predicted_but_never_true_counts_in_the_macro_averages_alone() -> None:
    true, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    found = scores(true, predicted, 4)
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert found["macro_recall"] == pytest.approx(0.5)
