"""Copies are grouped, whole or in part; what is only alike is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

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


def test_noise_has_no_duplicates(update: Update, clips: Path) -> None:
    assert groups(update(clips)[0]) == []
