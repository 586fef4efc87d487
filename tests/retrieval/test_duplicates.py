"""Copies are grouped, whole or in part; what is only alike is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqcl.data.options import DataOptions
from seqcl.retrieval.duplicates import find_duplicates

Update = Callable[..., Any]


def write(folder: Path, name: str, values: np.ndarray) -> None:
    (folder / f"{name}.csv").write_text("\n".join(["x", *map(str, values.round(6))]))


def groups(ranker: Any, **options: float) -> list[list[str]]:
    names = [recording.name for recording in ranker.entries.recordings]
    return [
        sorted(names[place] for place in group.recordings)
        for group in find_duplicates(ranker, **options)
    ]


def test_copies_and_parts_are_found(update: Update, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        write(tmp_path, f"r{number}", rng.normal(size=80))
    copied = np.loadtxt(tmp_path / "r1.csv", skiprows=1)
    write(tmp_path, "copy", copied)
    write(tmp_path, "noisy", copied + 0.01 * rng.normal(size=80))
    part = np.loadtxt(tmp_path / "r4.csv", skiprows=1)[20:60]
    write(tmp_path, "part", np.concatenate((part, rng.normal(size=8))))
    ranker, _ = update(tmp_path)
    found = groups(ranker)
    assert sorted(found) == [["copy.csv", "noisy.csv", "r1.csv"], ["part.csv", "r4.csv"]]
    assert groups(ranker, share=1.0) == [["copy.csv", "noisy.csv", "r1.csv"]]
    best = find_duplicates(ranker)[0]
    assert 0.98 < best.score <= 1.0
    exact = groups(ranker, threshold=0.999999)
    assert sorted(exact) == [["copy.csv", "r1.csv"], ["part.csv", "r4.csv"]]


@pytest.mark.parametrize("louder", [1.0, 2.0])  # the same bytes, and others of the same vectors
def test_a_copy_of_what_repeats_itself_is_found(
    update: Update, tmp_path: Path, louder: float
) -> None:
    rng = np.random.default_rng(1)
    repeated = np.tile(rng.normal(size=16), 40).round(6)  # 40 equal entries fill every list
    write(tmp_path, "a", repeated)
    write(tmp_path, "b", louder * repeated)
    write(tmp_path, "c", rng.normal(size=640))
    ranker, _ = update(tmp_path, options=DataOptions(window=16, hop=16))
    assert groups(ranker) == [["a.csv", "b.csv"]]
    assert find_duplicates(ranker, threshold=1.0)[0].score == 1.0


def test_a_noisy_copy_of_what_nearly_repeats_itself_is_found(
    update: Update, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    nearly = np.tile(rng.normal(size=16), 40) + 0.001 * rng.normal(size=640)
    write(tmp_path, "a", nearly)
    write(tmp_path, "b", nearly + 0.05 * rng.normal(size=640))
    write(tmp_path, "c", rng.normal(size=640))
    ranker, _ = update(tmp_path, options=DataOptions(window=16, hop=16))
    assert groups(ranker) == [["a.csv", "b.csv"]]


def test_files_of_equal_bytes_are_grouped_however_many_there_are(
    update: Update, tmp_path: Path
) -> None:
    values = np.random.default_rng(3).normal(size=80)
    for number in range(40):
        write(tmp_path, f"{number:02d}", values)
    assert [len(group) for group in groups(update(tmp_path)[0], share=1.0)] == [40]


def test_noise_has_no_duplicates(update: Update, clips: Path) -> None:
    assert groups(update(clips)[0]) == []
