"""Recordings in files, and indexes of them whose vectors need no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.options import DataOptions
from seqcl.retrieval.building import add_pieces, refresh_neighbours, sweep_vectors
from seqcl.retrieval.catalogue import Catalogue
from seqcl.retrieval.census import are_repeated, census
from seqcl.retrieval.changes import Changes, find_changes, note_changes
from seqcl.retrieval.folder import CATALOGUE, VECTORS, IndexSettings, Manifest
from seqcl.retrieval.ranking import Ranker
from seqcl.retrieval.searcher import open_parts

OPTIONS = DataOptions(window=16, hop=4)
SETTINGS = IndexSettings(run="none", window=16, hop=4)


def plain(dataset: Dataset) -> np.ndarray:
    """Embed a window of 16 as its values, others repeated or cut: what a test can compute."""
    if (dataset.lengths == 16).all():
        return dataset.gather(np.arange(len(dataset))).values[:, 0]
    return np.stack([np.resize(dataset.record(row).values, 16) for row in range(len(dataset))])


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Write 8 recordings of noise, of 30 to 72 steps, in groups of two and with two labels."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "clips"
    folder.mkdir()
    rows = ["file,label,group"]
    for number in range(8):
        write_clip(folder / f"{number}.csv", rng.normal(size=30 + 6 * number))
        rows.append(f"{number}.csv,{'ab'[number % 2]},g{number // 2}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def write_clip(path: Path, values: np.ndarray) -> None:
    path.write_text("\n".join(["x", *(f"{value:.6f}" for value in values)]))


Update = Callable[..., tuple[Ranker, Changes]]


@pytest.fixture
def update(tmp_path: Path) -> Update:
    """Bring the index at `tmp_path`/index up to date with some files."""

    def run(
        source: Path,
        *,
        embed: Callable[[Dataset], np.ndarray] = plain,
        options: DataOptions = OPTIONS,
        prune: bool = False,
        rehash: bool = False,
        settings: IndexSettings = SETTINGS,
        rows: Sequence[int] | None = None,
    ) -> tuple[Ranker, Changes]:
        folder = tmp_path / "index"
        (folder / VECTORS).mkdir(parents=True, exist_ok=True)
        settings = replace(settings, window=options.window, hop=options.hop)
        manifest = Manifest.read(folder) or Manifest(settings)
        catalogue = Catalogue(folder / CATALOGUE, writable=True)
        sweep_vectors(folder, catalogue)
        dataset = open_dataset([str(source)], options)
        dataset = dataset if rows is None else dataset.subset(np.array(rows))
        changes = find_changes(
            catalogue, census(dataset, are_repeated(dataset)), rehash=rehash, prune=prune
        )
        note_changes(catalogue, changes, settings.hop)
        add_pieces(folder, catalogue, dataset, changes, manifest, embed)
        catalogue.close()
        entries, shards = open_parts(folder, manifest)
        near, _ = refresh_neighbours(folder, entries, shards, manifest)
        facts = replace(manifest, neighbours=near.facts, entries=len(entries))
        facts.noted(folder).write(folder)
        return Ranker(entries, shards, near), changes

    return run


@pytest.fixture
def ranker(update: Update, clips: Path) -> Ranker:
    """Index the recordings."""
    return update(clips)[0]
