"""Beside: a method trains one of both encoders, and both go with the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seqcl import ContrastiveEncoder, load
from seqcl.batch import Batch
from seqcl.encoders.beside import Beside
from seqcl.errors import PresetError, UsageError
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.run.pretraining import Settings, pretrain

SMALL = ("encoder={beside: {learner: {conv1d: {widths: [8, 8]}}}}", "embedding=identity")
STEPS = ("training.steps=3", "training.batch_size=8", "training.diagnose_every=0")


def write(folder: Path) -> Path:
    time = np.arange(64) / 64
    rows = [np.sin(2 * np.pi * (1 + number % 6) * time + number)[None] for number in range(24)]
    np.savez(folder / "some.npz", X=np.stack(rows).astype(np.float32), y=np.arange(24) % 6)
    return folder / "some.npz"


def test_pooled_is_both_and_local_is_the_learners() -> None:
    torch.manual_seed(0)
    encoder = Beside(2, learner=Spec("encoders", "conv1d", {"widths": (8,)})).eval()
    batch = Batch(torch.randn(5, 2, 40), torch.arange(5))
    encoder.prepare(batch, Rng(0))
    encoded = encoder(batch, local=True)
    (learner,) = encoder.learners
    own, other = learner(batch, local=True), encoder.fixed(batch)
    assert torch.equal(encoded.pooled, torch.cat([own.pooled, other.pooled], 1))
    assert torch.equal(encoded.local, own.local)
    assert encoder.parts == (own.pooled.shape[1], other.pooled.shape[1])
    assert encoder.out_dim == sum(encoder.parts)


def test_an_encoder_that_cannot_learn_is_no_learner() -> None:
    with pytest.raises(ValueError, match="rocket has nothing to train; give it as fixed"):
        Beside(1, learner=Spec("encoders", "rocket"))
    with pytest.raises(UsageError, match="beside embeds whole records"):
        Beside(1).pooling(torch.zeros(2, 4, 5), None)


def test_the_learner_learns_and_the_other_stays(tmp_path: Path) -> None:
    source = str(write(tmp_path))
    options = (*SMALL, *STEPS, "encoder.beside.fixed={conv1d: {widths: [4]}}")
    states = {}
    for steps in (1, 3):
        given = (*options, f"training.steps={steps}")
        pretrain("series", Settings(sources=[source], overrides=given), tmp_path / f"{steps}")
        states[steps] = load(tmp_path / f"{steps}").model.encoder.state_dict()
    changed = {name for name in states[1] if not torch.equal(states[1][name], states[3][name])}
    assert changed
    assert all(name.startswith("trained.") for name in changed)


def test_what_is_fixed_has_no_statistics_of_batches_when_all_of_it_is_tuned() -> None:
    encoder = Beside(2, fixed=Spec("encoders", "conv1d", {"norm": "batch"})).train()
    before = {name: value.clone() for name, value in encoder.fixed.state_dict().items()}
    encoder(Batch(torch.randn(5, 2, 40), torch.arange(5)))
    assert all(torch.equal(before[name], now) for name, now in encoder.fixed.state_dict().items())
    assert encoder.trained.training
    assert encoder.exportable
    assert not Beside(2).exportable


def test_a_run_of_both_is_fitted_fine_tuned_and_gives_what_it_gave(tmp_path: Path) -> None:
    from seqcl.run.finetuning import FinetuneSettings, finetune

    source = write(tmp_path)
    options = (SMALL[0], "embedding={spectral: {dim: 6}}", *STEPS)
    pretrain("series", Settings(sources=[str(source)], overrides=options), tmp_path / "run")
    run, values = load(tmp_path / "run"), np.load(source)["X"]
    assert run.embed(values).shape == (24, 6)
    same = ContrastiveEncoder("series", overrides=options, random_state=0).fit(values)
    assert same.transform(values).shape == (24, 6)
    settings = FinetuneSettings(
        sources=[str(source)], overrides=("training.steps=2", "training.batch_size=8")
    )
    finetune(run, settings, tmp_path / "fine")
    assert len(load(tmp_path / "fine").predict(values)) == 24


def test_a_learner_that_cannot_learn_is_told(tmp_path: Path) -> None:
    settings = Settings(
        sources=[str(write(tmp_path))], overrides=("encoder={beside: {learner: rocket}}",)
    )
    with pytest.raises(PresetError, match="encoder: Beside: rocket has nothing to train"):
        pretrain("series", settings, tmp_path / "run")


def test_a_head_of_the_learner_is_not_one_of_both(tmp_path: Path) -> None:
    settings = Settings(sources=[str(write(tmp_path))], overrides=(SMALL[0], "embedding=projected"))
    with pytest.raises(PresetError, match="a method trains a part of this one"):
        pretrain("series", settings, tmp_path / "run")
