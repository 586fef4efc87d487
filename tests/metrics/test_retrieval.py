"""Precision at 1 and average precision against plain loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from seqcl.metrics import similarity
from seqcl.metrics.retrieval import retrieval_scores


def problem(queries: int, gallery: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, queries), rng.integers(0, 4, gallery)
    return (
        rng.standard_normal((queries, 3)) + codes[0][:, None] / 2,
        codes[0],
        rng.standard_normal((gallery, 3)) + codes[1][:, None] / 2,
        codes[1],
    )


def slow(relevant: list[bool], cutoff: int) -> tuple[float, float, float]:
    """P@1, AP and AP@cutoff of one ranking, hit by hit."""
    found, precision, short = 0, 0.0, 0.0
    for rank, hit in enumerate(relevant, start=1):
        if hit:
            found += 1
            precision += found / rank
            short += found / rank if rank <= cutoff else 0.0
    if not found:
        return (np.nan,) * 3
    return float(relevant[0]), precision / found, short / min(found, cutoff)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("queries", "gallery", "cutoff"), [(20, 35, 10), (6, 3, 10), (9, 40, 1)])
def test_the_scores_are_those_of_a_plain_loop(
    metric: str, queries: int, gallery: int, cutoff: int
) -> None:
    a, a_codes, b, b_codes = problem(queries, gallery)
    found = retrieval_scores(a, a_codes, b, b_codes, metric, cutoff=cutoff)
    for row, query in enumerate(a):
        if metric == "cosine":
            near = b @ query / np.linalg.norm(b, axis=1)
        else:
            near = -np.linalg.norm(b - query, axis=1)
        ranked = [bool(b_codes[i] == a_codes[row]) for i in np.argsort(-near)]
        ours = [found[name][row] for name in ("p_at_1", "map", f"map_at_{cutoff}")]
        np.testing.assert_allclose(ours, slow(ranked, cutoff))


def test_the_full_ranking_has_the_average_precision_of_scikit_learn() -> None:
    a, a_codes, b, b_codes = problem(15, 50)
    found = retrieval_scores(a, a_codes, b, b_codes, "euclidean")["map"]
    for row, query in enumerate(a):
        near = -np.linalg.norm(b - query, axis=1)
        assert found[row] == pytest.approx(average_precision_score(b_codes == a_codes[row], near))


def test_leave_one_out_is_a_gallery_of_all_the_others() -> None:
    a, codes, _, _ = problem(18, 1)
    together = retrieval_scores(a, codes, a, codes, "cosine", leave_one_out=True)
    for row in range(18):
        others = np.arange(18) != row
        alone = retrieval_scores(a[[row]], codes[[row]], a[others], codes[others], "cosine")
        ours = [scores[row] for scores in together.values()]
        np.testing.assert_allclose(ours, [scores[0] for scores in alone.values()])


def test_blocks_do_not_change_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    case = problem(30, 25)
    at_once = retrieval_scores(*case, "cosine")
    monkeypatch.setattr(similarity, "_BLOCK", 64)
    in_blocks = retrieval_scores(*case, "cosine")
    for name, values in at_once.items():
        np.testing.assert_array_equal(in_blocks[name], values)


def test_separated_classes_are_found_without_an_error() -> None:
    codes = np.repeat([0, 1, 2], 6)
    found = retrieval_scores(np.eye(3)[codes], codes, np.eye(3)[codes], codes, "cosine")
    assert all((values == 1).all() for values in found.values())


def test_a_query_with_nothing_relevant_has_no_score() -> None:
    found = retrieval_scores(np.eye(2), np.array([0, 9]), np.eye(2), np.array([0, 1]), "cosine")
    assert [np.isnan(values).tolist() for values in found.values()] == [[False, True]] * 3


def test_random_embeddings_have_the_average_precision_of_a_random_ranking() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], 200)
    values = rng.standard_normal((400, 30))
    found = retrieval_scores(values, codes, values, codes, "cosine", leave_one_out=True)
    # half of the gallery is relevant; 400 queries leave a spread of about 0.005
    assert found["map"].mean() == pytest.approx(0.5, abs=0.02)


def test_equally_near_records_keep_the_order_of_the_gallery() -> None:
    gallery = np.ones((4, 2))
    codes = np.array([1, 0, 0, 1])
    found = retrieval_scores(np.ones((1, 2)), np.array([0]), gallery, codes, "cosine")
    assert found["map"].item() == pytest.approx((1 / 2 + 2 / 3) / 2)
