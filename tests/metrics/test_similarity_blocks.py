"""Similarities against scipy, block by block, and ties that stay ties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from seqcl.metrics import similarity
from seqcl.metrics.similarity import distances, similarity_blocks


def whole(queries: np.ndarray, gallery: np.ndarray, metric: str, **options: bool) -> np.ndarray:
    return np.concatenate([b for _, b in similarity_blocks(queries, gallery, metric, **options)])


def vectors(n: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "size"), [(1, 1), (5, 3), (90, 17)])
def test_similarity_is_the_cosine_or_minus_the_distance(metric: str, n: int, size: int) -> None:
    queries, gallery = vectors(n, size, 0), vectors(n + 3, size, 1)
    sign, offset = (-1, 1) if metric == "cosine" else (-1, 0)
    expected = sign * cdist(queries, gallery, metric) + offset
    # squares of distances keep 12 decimals of the gallery's spread, so distances about 6
    np.testing.assert_allclose(whole(queries, gallery, metric), expected, atol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_blocks_do_not_change_the_values(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gallery = vectors(23, 6, 0), vectors(31, 6, 1)
    at_once = whole(queries, gallery, metric)
    monkeypatch.setattr(similarity, "_BLOCK", 60)
    blocks = list(similarity_blocks(queries, gallery, metric))
    assert len(blocks) > 10
    # rounding may fall on either side in the last kept decimal
    np.testing.assert_allclose(np.concatenate([b for _, b in blocks]), at_once, atol=1e-10)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_no_block_is_larger_than_the_bound(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_BLOCK", 100)
    blocks = similarity_blocks(vectors(40, 4, 0), vectors(20, 4, 1), metric)
    assert max(block.size for _, block in blocks) <= 100


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_gallery_records_are_equally_near(metric: str) -> None:
    gallery = np.repeat(vectors(7, 301, 0), 9, axis=0)
    found = whole(vectors(13, 301, 1), gallery, metric).reshape(13, 7, 9)
    assert (found == found[:, :, :1]).all()


def test_a_zero_vector_has_cosine_zero() -> None:
    found = whole(np.zeros((1, 3), np.float32), vectors(4, 3, 0), "cosine")
    assert (found == 0).all()


def test_distances_survive_a_large_common_offset() -> None:
    values = np.array([[0.0], [1.0], [3.0]], np.float32) + 1000
    np.testing.assert_allclose(distances(values), [[0, 1, 3], [1, 0, 2], [3, 2, 0]], atol=1e-9)


def test_cosines_near_one_keep_their_order() -> None:
    angles = np.array([1e-4, 3e-5, 2e-4])
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = whole(np.array([[1.0, 0.0]]), gallery, "cosine")
    assert found[0].argsort().tolist() == [2, 0, 1]


def test_leave_one_out_never_finds_itself() -> None:
    values = vectors(9, 4, 0)
    found = whole(values, values, "cosine", leave_one_out=True)
    assert np.isneginf(np.diagonal(found)).all()
    assert np.isfinite(found[~np.eye(9, dtype=bool)]).all()
