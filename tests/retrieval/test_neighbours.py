"""The faiss part: every kind holds what was added, finds it, and is not trained again."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from seqcl.errors import ArtefactError, UsageError
from seqcl.retrieval import neighbours
from seqcl.retrieval.neighbours import Neighbours, need_faiss, top
from seqcl.retrieval.shards import unit_vectors

KINDS = [(limit, quantise) for limit in (10_000, 100) for quantise in ("none", "sq8", "pq")]


def clustered(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, 16))
    values = centres[rng.integers(0, 20, count)] + 0.4 * rng.normal(size=(count, 16))
    return unit_vectors(values.astype(np.float32), [""] * count)


@cache
def trained(limit: int, quantise: str) -> Neighbours:
    """Train on 1,000 vectors and add them with ids 0, 2, 4, ..."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "FLAT_LIMIT", limit)
        found = Neighbours.train(clustered(1000), 1000, quantise)
    found.add(np.arange(0, 2000, 2), clustered(1000))
    return found


@pytest.fixture(params=KINDS, ids=lambda kind: f"{'flat' if kind[0] > 1000 else 'ivf'}-{kind[1]}")
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Neighbours:
    """Return a trained one of each kind, that a test may change."""
    monkeypatch.setattr(neighbours, "FLAT_LIMIT", request.param[0])
    found = trained(*request.param)
    return Neighbours(need_faiss().clone_index(found.index), found.facts)


def test_it_holds_the_ids_that_were_added_and_not_removed(made: Neighbours) -> None:
    made.remove(np.array([0, 4, 1998]))
    assert np.array_equal(np.sort(made.ids()), np.setdiff1d(np.arange(0, 2000, 2), [0, 4, 1998]))
    assert len(made) == 997


def test_what_is_added_later_is_found(made: Neighbours) -> None:
    more = clustered(50, seed=1)
    made.add(np.arange(5000, 5050), more)
    truth = top(more, [(np.arange(5000, 5050), more)], 1)[:, 0]
    found = made.search(more, 64)[1]
    assert np.mean([true in near for true, near in zip(truth, found, strict=True)]) > 0.95
    assert not made.outgrown(1050)


def test_few_allowed_entries_are_all_looked_at(made: Neighbours) -> None:
    allowed = np.zeros(2000, dtype=bool)
    allowed[::80] = True  # 25 of 1,000, in any list
    found = made.search(clustered(20, seed=2), 25, allowed)[1]
    assert np.array_equal(np.sort(found, axis=1), np.tile(np.arange(0, 2000, 80), (20, 1)))


def test_as_many_are_found_as_are_asked_for(made: Neighbours) -> None:
    found = made.search(clustered(5, seed=2), 1000)[1]
    assert np.array_equal(np.sort(found, axis=1), np.tile(np.arange(0, 2000, 2), (5, 1)))


def test_only_allowed_entries_are_found(made: Neighbours) -> None:
    allowed = np.zeros(700, dtype=bool)
    allowed[100:140] = True
    found = made.search(clustered(3), 64, allowed)[1]
    assert set(found[found >= 0].tolist()) <= set(range(100, 140, 2))
    assert (found >= 0).any()


def test_tuning_notes_the_recall_against_exact_search(made: Neighbours) -> None:
    vectors = clustered(1000)
    truth = top(vectors[:50], [(np.arange(0, 2000, 2), vectors)], 11)
    made.tune(vectors[:50], truth, 0.97)
    assert made.facts.recall is not None
    assert made.facts.recall >= (0.8 if made.facts.quantise == "pq" else 0.97)


def test_it_is_written_and_read(made: Neighbours, tmp_path: Path) -> None:
    made.write(tmp_path / "n")
    again = Neighbours.read(tmp_path / "n", made.facts)
    for one, other in zip(made.search(clustered(5), 9), again.search(clustered(5), 9), strict=True):
        assert np.array_equal(one, other)


def test_a_file_that_faiss_cannot_read(made: Neighbours, tmp_path: Path) -> None:
    (tmp_path / "n").write_bytes(b"not an index at all, not even nearly one")
    with pytest.raises(ArtefactError, match="made again from the stored vectors|makes it again"):
        Neighbours.read(tmp_path / "n", made.facts)


def test_exact_neighbours_are_those_of_a_full_sort() -> None:
    vectors, queries = clustered(300), clustered(7, seed=3)
    blocks = [(np.arange(first, first + 100), vectors[first : first + 100])
              for first in (0, 100, 200)]  # fmt: skip
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :6]
    assert np.array_equal(top(queries, blocks, 6), expected)


def test_a_flat_index_that_has_grown_becomes_one_of_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "FLAT_LIMIT", 100)
    small = Neighbours.train(clustered(80), 80, "none")
    assert not small.outgrown(100)
    assert small.outgrown(101)


def test_product_codes_need_enough_vectors() -> None:
    with pytest.raises(UsageError, match="at least 256 entries and there are 40"):
        Neighbours.train(clustered(40), 40, "pq")


def test_without_faiss_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match=r"pip install 'seqcl\[search\]'"):
        need_faiss()
