"""k-NN classification against scikit-learn, its options and its scores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from seqcl.evaluation.knn import Knn


def predictions(report) -> list[object]:
    return [one["prediction"] for one in report.details["predictions"]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("k", [1, 5])
def test_the_predictions_are_those_of_scikit_learn(blobs, metric, weights, k) -> None:
    train = blobs(80, 0, classes=("a", "b"), distance=0.3)
    test = blobs(60, 1, "t", classes=("a", "b"), distance=0.3)
    report = Knn(k=k, metric=metric, weights=weights)(test, train)
    oracle = KNeighborsClassifier(k, weights=weights, metric=metric, algorithm="brute")
    oracle.fit(train.values, train.labels)
    assert predictions(report) == oracle.predict(test.values).tolist()
    if k > 1:
        scores = [one["score"] for one in report.details["predictions"]]
        expected = oracle.predict_proba(test.values).max(1)
        np.testing.assert_allclose(scores, expected, rtol=1e-4)  # its distances are float32


@pytest.mark.parametrize(
    ("info", "metric"), [({}, "cosine"), ({"metric": "euclidean"}, "euclidean")]
)
def test_the_metric_is_the_one_that_the_embeddings_declare(make, info, metric) -> None:
    train = make([[1, 0], [9, 9.5]], ["near", "same direction"], **info)
    test = make([[1.1, 1]], ["near"], "t", **info)
    report = Knn()(test, train)
    assert report.details["chosen"]["metric"] == metric
    assert report.metrics["accuracy"] == (metric == "euclidean")


@pytest.mark.parametrize(("metric", "score"), [("cosine", 0.6), ("euclidean", -5.0)])
def test_the_score_of_one_neighbour_is_its_similarity(make, metric, score) -> None:
    values, label = ([[3, 4]], [[1, 0]]) if metric == "cosine" else ([[3, 4]], [[0, 0]]), ["a"]
    report = Knn(metric=metric)(make(values[0], label, "t"), make(values[1], label))
    assert report.details["predictions"][0]["score"] == pytest.approx(score)


def test_a_record_at_distance_zero_decides_alone(make) -> None:
    train = make([[0.0], [0.1], [0.1]], ["a", "b", "b"])
    report = Knn(k=3, weights="distance", metric="euclidean")(make([[0.0]], ["a"], "t"), train)
    assert predictions(report) == ["a"]
    assert report.details["predictions"][0]["score"] == 1.0


def test_k_is_at_most_the_number_of_labelled_records(blobs) -> None:
    report = Knn(k=50)(blobs(6, 1, "t"), blobs(6, 0))
    assert report.details["chosen"]["k"] == 6


def test_numbers_keep_their_order_among_the_classes(blobs) -> None:
    report = Knn()(blobs(9, 1, "t", classes=(10, 9, "x")), blobs(9, 0, classes=(10, 9, "x")))
    assert report.details["classes"] == [9, 10, "x"]


def test_numpy_labels_become_plain_values(blobs) -> None:
    classes = tuple(np.array([1, 2, 3]))
    report = Knn()(blobs(9, 1, "t", classes=classes), blobs(9, 0, classes=classes))
    assert all(type(name) is int for name in report.details["classes"])
