"""Nearest neighbours against scikit-learn and a plain loop; votes and their ties."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from seqcl.metrics.knn import nearest, vote


def vectors(n: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 2, 7, 40])
def test_the_neighbours_are_those_of_scikit_learn(metric: str, k: int) -> None:
    queries, gallery = vectors(25, 8, 0), vectors(40, 8, 1)
    found = nearest(queries, gallery, k, metric)
    oracle = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute")
    distance, index = oracle.fit(gallery).kneighbors(queries)
    assert (found.index == index).all()
    expected = 1 - distance if metric == "cosine" else -distance
    # scikit-learn computes these in float32
    np.testing.assert_allclose(found.similarity, expected, atol=1e-5)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equally_near_records_come_in_the_order_of_the_gallery(k: int) -> None:
    gallery = np.tile(vectors(2, 5, 0), (4, 1))
    found = nearest(gallery[:2], gallery, k, "euclidean").index
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    assert found[0].tolist() == order[:k]


@pytest.mark.parametrize("k", [0, 6])
def test_a_k_outside_the_gallery_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}; needed is 1 to 5"):
        nearest(vectors(2, 3, 0), vectors(5, 3, 1), k, "cosine")


def slow_vote(codes: np.ndarray, weights: np.ndarray) -> tuple[int, float]:
    votes: dict[int, float] = {}
    for code, weight in zip(codes, weights, strict=True):
        votes[code] = votes.get(code, 0.0) + weight
    winner = max(votes, key=votes.__getitem__)  # of equals the first seen: the nearest
    return winner, votes[winner] / weights.sum()


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_the_vote_is_that_of_a_plain_loop(k: int) -> None:
    rng = np.random.default_rng(k)
    codes, weights = rng.integers(0, 4, (60, k)), rng.integers(1, 4, (60, k)).astype(float)
    winner, share = vote(codes, weights)
    for row in range(60):
        assert (winner[row], share[row]) == pytest.approx(slow_vote(codes[row], weights[row]))


def test_a_tie_goes_to_the_class_of_the_nearest_neighbour_whatever_its_number() -> None:
    codes = np.array([[3, 1, 1, 3], [1, 3, 3, 1]])
    winner, share = vote(codes, np.ones((2, 4)))
    assert winner.tolist() == [3, 1]
    assert share.tolist() == [0.5, 0.5]


def test_the_class_is_that_of_scikit_learn_where_nothing_ties() -> None:
    rng = np.random.default_rng(5)
    queries, gallery, labels = vectors(50, 4, 0), vectors(80, 4, 1), rng.integers(0, 2, 80)
    found = nearest(queries, gallery, 5, "euclidean")
    ours, _ = vote(labels[found.index], np.ones((50, 5)))
    oracle = KNeighborsClassifier(5).fit(gallery, labels)
    assert (ours == oracle.predict(queries)).all()
