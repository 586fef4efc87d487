"""Alignment finds the recording and the step at which a query begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqcl.data.options import DataOptions
from seqcl.retrieval.alignment import Cut, align
from seqcl.retrieval.ranking import Ranker
from seqcl.retrieval.shards import unit_vectors
from seqcl.retrieval.speeds import stretched

WINDOW, HOP = 16, 4


@pytest.fixture
def smooth(update: Callable[..., Any], tmp_path: Path) -> tuple[Ranker, list[np.ndarray]]:
    """Index 6 smooth recordings of 200 steps, whose windows are near their neighbours."""
    rng = np.random.default_rng(1)
    kernel = np.hanning(25) / np.hanning(25).sum()
    series = [np.convolve(rng.normal(size=224), kernel, mode="valid") for _ in range(6)]
    for number, values in enumerate(series):
        (tmp_path / f"{number}.csv").write_text("\n".join(["x", *map(str, values.round(6))]))
    return update(tmp_path, options=DataOptions(window=WINDOW, hop=HOP))[0], series


def cut(series: np.ndarray, first: int, steps: int, noise: float = 0.0) -> list[Cut]:
    part = series[first : first + steps]
    part = part + noise * np.random.default_rng(first).normal(size=len(part))
    starts = np.arange(0, steps - WINDOW + 1, 2)
    windows = np.stack([part[s : s + WINDOW] for s in starts]).astype(np.float32)
    return [Cut(unit_vectors(windows, [""] * len(windows)), starts)]


@pytest.mark.parametrize(("recording", "first"), [(0, 0), (2, 40), (3, 61), (5, 150), (4, 103)])
def test_recording_and_offset_are_found(smooth: Any, recording: int, first: int) -> None:
    ranker, series = smooth
    found = align(ranker, cut(series[recording], first, 50)).best
    assert found[0].recording == recording
    assert abs(found[0].start - first) <= HOP / 4  # half of what the query is cut by
    assert found[0].score > found[1].score
    assert len({one.recording for one in found}) == len(found)


def test_they_are_found_in_noise(smooth: Any) -> None:
    ranker, series = smooth
    found = align(ranker, cut(series[2], 90, 60, noise=0.1)).best
    assert found[0].recording == 2
    assert abs(found[0].start - 90) <= HOP / 2


def test_a_faster_query_is_found_by_the_cut_at_its_speed(smooth: Any) -> None:
    ranker, series = smooth
    faster = np.interp(70 + 1.1 * np.arange(60), np.arange(200), series[4])
    (slow,) = cut(faster, 0, 60)
    at_speed = replace(cut(stretched(faster[None], 1.1)[0], 0, 66)[0], speed=1.1)
    (alone, both) = (align(ranker, cuts).best[0] for cuts in ([slow], [slow, at_speed]))
    assert (both.recording, both.speed) == (4, 1.1)
    assert abs(both.start - 70) <= HOP / 4
    assert both.score > alone.score
    assert align(ranker, cut(series[2], 40, 50)).best[0].speed == 1.0


def test_what_may_not_be_found_is_not(smooth: Any) -> None:
    ranker, series = smooth
    allowed = np.ones(len(ranker.entries), dtype=bool)
    allowed[ranker.entries.ids_of(ranker.entries.recording == 2)] = False
    assert 2 not in {one.recording for one in align(ranker, cut(series[2], 40, 50), allowed).best}
    assert align(ranker, cut(series[2], 40, 50), np.zeros(len(ranker.entries), bool)).best == ()


def test_a_whole_recording_is_aligned_at_its_beginning(
    update: Callable[..., Any], clips: Path
) -> None:
    ranker, _ = update(clips, options=DataOptions())
    found = align(ranker, [Cut(ranker.shards.read(np.array([3])), np.zeros(1, np.int64))]).best
    assert (found[0].recording, found[0].start) == (3, 0.0)
    assert found[0].score == pytest.approx(1, abs=1e-6)
