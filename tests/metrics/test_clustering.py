"""ARI, NMI and silhouette against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from seqcl.metrics.clustering import adjusted_rand, normalized_mutual_information, silhouette
from seqcl.metrics.similarity import distances


def groupings(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, n)
    return classes, np.where(rng.random(n) < 0.5, classes, rng.integers(-1, 6, n))


@pytest.mark.parametrize("n", [1, 2, 9, 300])
def test_agreement_is_that_of_scikit_learn(n: int) -> None:
    classes, clusters = groupings(n, n)
    expected = metrics.adjusted_rand_score(classes, clusters)
    assert adjusted_rand(classes, clusters) == pytest.approx(expected)
    expected = metrics.normalized_mutual_info_score(classes, clusters)
    assert normalized_mutual_information(classes, clusters) == pytest.approx(expected)


@pytest.mark.parametrize("agreement", [adjusted_rand, normalized_mutual_information])
def test_renaming_the_clusters_changes_nothing(agreement) -> None:
    classes, clusters = groupings(80, 0)
    renamed = np.array([4, 9, -7, 0, 2, 5, 1])[clusters + 1]
    assert agreement(classes, renamed) == pytest.approx(agreement(classes, clusters))
    assert agreement(clusters, classes) == pytest.approx(agreement(classes, clusters))


@pytest.mark.parametrize("agreement", [adjusted_rand, normalized_mutual_information])
def test_equal_groupings_agree_fully(agreement) -> None:
    classes, _ = groupings(50, 1)
    assert agreement(classes, classes) == pytest.approx(1)
    assert agreement(np.zeros(5, int), np.zeros(5, int)) == 1
    assert agreement(np.arange(5), np.arange(5)) == 1


def test_random_groupings_have_an_adjusted_rand_index_of_zero() -> None:
    rng = np.random.default_rng(0)
    found = [adjusted_rand(rng.integers(0, 3, 200), rng.integers(0, 3, 200)) for _ in range(200)]
    # the mean of 200 draws whose standard deviation is about 0.007
    assert np.mean(found) == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize("n", [8, 60])
def test_the_silhouette_is_that_of_scikit_learn(n: int) -> None:
    values = np.random.default_rng(n).standard_normal((n, 3))
    clusters = np.arange(n) % 4 * 3 - 1
    clusters[0] = 99  # alone
    expected = metrics.silhouette_score(values, clusters)
    assert silhouette(distances(values), clusters) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("clusters", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_the_silhouette_of_one_cluster_or_only_single_records_is_undefined(clusters) -> None:
    assert silhouette(distances(np.eye(4)), np.array(clusters)) is None


def test_two_points_at_distance_d_and_width_zero_have_silhouette_one() -> None:
    values = np.array([[0.0], [0.0], [5.0], [5.0]])
    assert silhouette(distances(values), np.array([0, 0, 1, 1])) == 1.0
    assert silhouette(distances(values), np.array([0, 1, 0, 1])) == pytest.approx(-0.5)


def test_records_that_are_all_equal_have_silhouette_zero() -> None:
    assert silhouette(np.zeros((4, 4)), np.array([0, 0, 1, 1])) == 0.0
