"""Ranks and scores are those of comparing with everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seqcl.retrieval import neighbours, ranking
from seqcl.retrieval.folder import IndexSettings
from seqcl.retrieval.ranking import Ranker
from seqcl.retrieval.shards import unit_vectors


def queries(count: int) -> np.ndarray:
    values = np.random.default_rng(5).normal(size=(count, 16)).astype(np.float32)
    return unit_vectors(values, [""] * count)


def plain_rank(
    ranker: Ranker, vectors: np.ndarray, k: int, allowed: np.ndarray | None, distinct: bool
) -> list[tuple[int, float]]:
    """Sort everything, one by one."""
    entries, found = ranker.entries, {}
    for entry in entries.ids.tolist():
        if allowed is not None and not (entry < len(allowed) and allowed[entry]):
            continue
        own = ranker.shards.read(np.array([entry]))[0].astype(np.float64)
        score = max(float(own @ vector.astype(np.float64)) for vector in vectors)
        key = int(entries.recording_of(np.array([entry]))[0]) if distinct else entry
        if key not in found or score > found[key][1]:
            found[key] = (entry, score)
    return sorted(found.values(), key=lambda pair: (-pair[1], pair[0]))[:k]


@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("some", [True, False])
def test_the_rank_is_that_of_a_full_comparison(ranker: Ranker, distinct: bool, some: bool) -> None:
    allowed = np.arange(len(ranker.entries)) % 3 > 0 if some else None
    found = ranker.rank(queries(3), 5, allowed, distinct=distinct)
    expected = plain_rank(ranker, queries(3), 5, allowed, distinct)
    assert [hit.entry for hit in found] == [entry for entry, _ in expected]
    np.testing.assert_allclose([hit.score for hit in found], [s for _, s in expected], atol=1e-12)
    for hit in found:
        own = ranker.shards.read(np.array([hit.entry]))[0]
        assert hit.score == pytest.approx(float(own @ queries(3)[hit.window]), abs=1e-6)


def test_every_recording_is_ranked_though_a_few_have_all_near_entries(ranker: Ranker) -> None:
    vector = ranker.shards.read(np.array([0]))
    assert len({hit.recording for hit in ranker.rank(vector, 100)}) == 8


def test_quantised_candidates_are_scored_by_the_stored_vectors(
    update: Callable[..., Any], clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "FLAT_LIMIT", 30)
    ranker = update(clips, settings=IndexSettings(run="none", quantise="sq8"))[0]
    assert ranker.neighbours.facts.lists > 1
    vector = ranker.shards.read(np.array([9]))
    best = ranker.rank(vector, 3)[0]
    assert (best.entry, best.score) == (9, pytest.approx(1.0, abs=1e-6))


def test_a_window_crowded_by_one_recording_does_not_lose_the_others() -> None:
    draw = np.random.default_rng(0)

    def unit(values: np.ndarray) -> np.ndarray:
        return unit_vectors(values.astype(np.float32), [""] * len(values))

    asked = unit(draw.normal(size=(2, 32)))
    crowd = asked[0] + 0.02 * draw.normal(size=(100, 32))
    close = asked[0] + 0.05 * draw.normal(size=(2, 32))
    weak = 0.4 * asked[1] + unit(draw.normal(size=(80, 32)))
    vectors = unit(np.concatenate((crowd, close, weak)))
    owner = np.repeat(np.arange(43), [100, 1, 1, *[2] * 40])
    entries: Any = SimpleNamespace(recordings=[None] * 43, recording_of=lambda ids: owner[ids])
    shards: Any = SimpleNamespace(read=lambda ids: vectors[ids])
    near = neighbours.Neighbours.train(vectors, len(vectors), "none")
    near.add(np.arange(len(vectors)), vectors)
    found = Ranker(entries, shards, near).rank(asked, 3)
    assert [hit.recording for hit in found] == [0, 1, 2]


def test_many_equal_entries_are_not_all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.tile(queries(1), (5_000, 1))
    vectors[3_000:] = queries(2_001)[1:]
    entries: Any = SimpleNamespace(recordings=[None] * 50, recording_of=lambda ids: ids // 100)
    read: list[int] = []
    shards: Any = SimpleNamespace(read=lambda ids: read.append(len(ids)) or vectors[ids])
    near = neighbours.Neighbours.train(vectors, len(vectors), "none")
    near.add(np.arange(len(vectors)), vectors)
    monkeypatch.setattr(ranking, "_PAIRS", 100)  # scored in blocks, to the same end
    found = Ranker(entries, shards, near).rank(np.tile(queries(1), (30, 1)), 10, distinct=False)
    assert [hit.score for hit in found] == pytest.approx([1.0] * 10)
    assert sum(read) <= 64


def test_nothing_allowed_gives_nothing(ranker: Ranker) -> None:
    none = np.zeros(len(ranker.entries), dtype=bool)
    assert ranker.rank(queries(1), 3, none) == []
    assert replace(ranker).rank(queries(1), 3, none, distinct=False) == []
