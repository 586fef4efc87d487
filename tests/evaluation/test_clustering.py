"""Clustering: agreement with classes, the silhouette alone, and what is told."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from seqcl.errors import DataError
from seqcl.evaluation import clustering
from seqcl.evaluation.clustering import Clustering


def test_separated_classes_are_found_by_both_methods(blobs) -> None:
    found = Clustering()(blobs(60, 0, distance=9)).metrics
    for name in ("ari", "nmi", "hdbscan_ari", "hdbscan_nmi"):
        assert found[name] == pytest.approx(1)
    assert (found["hdbscan_clusters"], found["hdbscan_noise"]) == (3, 0)


def test_noise_has_an_adjusted_rand_index_near_zero(blobs) -> None:
    found = Clustering()(blobs(600, 0, distance=0)).metrics
    assert found["ari"] == pytest.approx(0, abs=0.02)  # spread of about 0.003 at 600 records


def test_the_agreement_is_that_of_k_means_on_unit_vectors(blobs) -> None:
    test = blobs(90, 0, distance=1.2)
    found = Clustering()(test).metrics
    unit = test.values / np.linalg.norm(test.values, axis=1, keepdims=True)
    oracle = KMeans(3, n_init=50, random_state=1).fit(unit)
    # both find the same optimum from different starts
    assert found["ari"] == pytest.approx(adjusted_rand_score(test.labels, oracle.labels_))
    assert found["silhouette"] == pytest.approx(silhouette_score(unit, oracle.labels_), abs=1e-5)


def test_without_labels_it_takes_the_k_of_the_best_silhouette_and_says_so(blobs) -> None:
    test = replace(blobs(80, 0, classes=("a", "b", "c", "d"), distance=9), labels=None)
    report = Clustering()(test)
    assert report.details["chosen"]["clusters"] == 4
    assert not any("ari" in name or "nmi" in name for name in report.metrics)
    assert report.details["notes"] == [
        "no labels: no ARI or NMI, the silhouette alone; k = 4 by the best silhouette"
    ]
    assert report.headline == ("silhouette",)


def test_one_class_is_no_agreement(blobs) -> None:
    report = Clustering(clusters=2)(blobs(20, 0, classes=("a",)))
    assert "ari" not in report.metrics
    assert report.details["notes"] == ["only one class: no ARI or NMI, the silhouette alone"]


def test_records_without_a_label_are_clustered_but_not_scored(blobs) -> None:
    test = blobs(60, 0, distance=9)
    wrong = replace(test, labels=("b", *test.labels[1:]))
    masked = replace(test, labels=(None, *test.labels[1:]))
    assert Clustering()(wrong).metrics["ari"] < 1
    assert Clustering()(masked).metrics["ari"] == 1


def test_a_given_k_is_kept(blobs) -> None:
    report = Clustering(clusters=5)(blobs(60, 0))
    assert report.details["chosen"]["clusters"] == 5


def test_too_few_distinct_records_are_told_and_not_warned(make) -> None:
    test = make(np.repeat(np.eye(2), 10, axis=0), ["a", "b", "c", "d"] * 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = Clustering()(test)
    assert "k-means found 2 of 4 clusters: too few records differ" in report.details["notes"]


def test_quadratic_parts_look_at_a_bounded_number_of_records(blobs, monkeypatch) -> None:
    monkeypatch.setattr(clustering, "_MOST_RECORDS", 50)
    report = Clustering()(blobs(120, 0, distance=9))
    assert "HDBSCAN and silhouettes are of 50 of the records" in report.details["notes"]
    assert report.metrics["ari"] == report.metrics["hdbscan_ari"] == 1


@pytest.mark.parametrize(("k", "needed"), [(None, 3), (7, 7)])
def test_too_few_records_are_refused_with_both_numbers(blobs, k, needed) -> None:
    with pytest.raises(DataError, match=f"2 test records .*; at least {needed} are needed"):
        Clustering(clusters=k)(blobs(2, 0))


@pytest.mark.parametrize("records", [3, 4, 6])
def test_the_smallest_sets_are_clustered(blobs, records) -> None:
    for labels in (None, blobs(records, 0).labels):
        assert Clustering()(replace(blobs(records, 0), labels=labels)).metrics
