"""Notes of a run: what a preset without a method asks for in vain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqcl.run import Settings, dry_run, pretrain

RANDOM = (
    "method: none and embedding: identity learn nothing: encoder conv1d keeps its random weights"
)


@pytest.fixture
def source(tmp_path: Path) -> str:
    X = np.random.default_rng(0).normal(size=(12, 1, 32)).astype(np.float32)
    np.savez(tmp_path / "x.npz", X=X)
    return str(tmp_path / "x.npz")


def notes(source: str, *overrides: str) -> tuple[str, ...]:
    settings = Settings(sources=(source,), overrides=overrides, device="cpu")
    return dry_run("series-instant", settings).notes


def test_training_options_without_a_method_are_told(source: str) -> None:
    assert notes(source) == ()
    assert notes(source, "training.batch_size=4") == ()
    assert notes(source, "training.steps=5", "training.sampler=sequential") == (
        "method: none trains nothing by gradient; without effect: training.steps, training.sampler",
    )


def test_an_encoder_that_nothing_trains_is_told(source: str) -> None:
    assert notes(source, "encoder=conv1d", "embedding=identity") == (RANDOM,)
    assert notes(source, "embedding=identity") == ()  # random kernels are meant to be random


def test_an_encoder_of_another_run_is_not_random(source: str, tmp_path: Path) -> None:
    small = ("encoder.widths=[8]",)
    first = Settings(
        sources=(source,), overrides=(*small, "training.steps=2", "training.batch_size=4")
    )
    pretrain("series", first, tmp_path / "first")
    overrides = ("encoder=conv1d", *small, "embedding=identity")
    again = Settings(sources=(source,), overrides=overrides, init=tmp_path / "first")
    assert pretrain("series-instant", again, tmp_path / "second").notes == ()
    alone = Settings(sources=(source,), overrides=overrides)
    assert pretrain("series-instant", alone, tmp_path / "third").notes == (RANDOM,)


def test_groups_that_a_method_would_learn_from_are_missed(source: str) -> None:
    few = ("encoder=conv1d", "embedding=identity", "training.batch_size=4")
    told = "method: SwAV would learn from groups, and no record has one; name the column that"
    found = notes(source, "method={swav: {prototypes: 4, neighbours: 2}}", *few)
    assert [note for note in found if note.startswith(told)]
    assert notes(source, "method={swav: {prototypes: 4}}", *few) == ()
