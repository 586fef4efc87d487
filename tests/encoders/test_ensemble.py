"""Ensemble: members that learn apart, from one call of pretrain to embeddings of steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from seqcl import load
from seqcl.batch import Batch
from seqcl.config import load_preset
from seqcl.data.dataset import dataset_from_arrays
from seqcl.encoders.ensemble import Ensemble
from seqcl.errors import PresetError
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.run.fitting import assemble, fit
from seqcl.run.pretraining import Settings, pretrain
from seqcl.training.embed import embed

SMALL = "encoder={ensemble: {of: {conv1d: {widths: [8, 8], norm: layer}}, members: 3}}"
STEPS = ("training.steps=3", "training.batch_size=8", "training.diagnose_every=0")


def waves() -> np.ndarray:
    time = np.arange(64) / 64
    rows = [np.sin(2 * np.pi * (1 + number % 6) * time + number)[None] for number in range(24)]
    return np.stack(rows).astype(np.float32)


def trained(*overrides: str, preset: str = "series", seed: int = 0, fitted: bool = True):
    data = dataset_from_arrays(waves())
    given = load_preset(preset, (SMALL, *STEPS, *overrides))
    parts = assemble(given, data, seed=seed, device=torch.device("cpu"))
    if fitted:
        fit(parts)
    return parts, data


def test_features_are_those_of_the_members_in_their_order() -> None:
    torch.manual_seed(0)
    encoder = Ensemble(2, of=Spec("encoders", "conv1d", {"widths": (8,)}), members=3).eval()
    batch = Batch(torch.randn(5, 2, 40), torch.arange(5))
    encoded = encoder(batch, local=True)
    own = [member(batch, local=True) for member in encoder.members]
    assert torch.equal(encoded.pooled, torch.cat([one.pooled for one in own], 1))
    assert torch.equal(encoded.local, torch.cat([one.local for one in own], 1))
    torch.testing.assert_close(encoder.pooling(encoded.local, None), encoded.pooled)
    assert encoder.parts == tuple(one.pooled.shape[1] for one in own)
    assert encoder.learners == tuple(encoder.members)
    assert not torch.allclose(own[0].pooled, own[1].pooled)


def test_members_of_images_too() -> None:
    encoder = Ensemble(3, of=Spec("encoders", "resnet2d")).eval()
    encoded = encoder(Batch(torch.randn(2, 3, 12, 12), torch.arange(2)), local=True)
    assert encoded.pooled.shape == (2, encoder.out_dim)
    assert not encoder.embeds_steps


def test_what_cannot_learn_has_no_members() -> None:
    with pytest.raises(ValueError, match="Ensemble: rocket has nothing to train"):
        Ensemble(1, of=Spec("encoders", "rocket"))
    with pytest.raises(PresetError, match="encoder: Ensemble: rocket has nothing to train"):
        load_and_assemble("encoder={ensemble: {of: rocket}}")


def load_and_assemble(*overrides: str) -> None:
    data = dataset_from_arrays(waves())
    assemble(load_preset("series", overrides), data, seed=0, device=torch.device("cpu"))


def test_each_member_keeps_its_own_projection_and_the_cosine_is_the_mean_of_theirs() -> None:
    parts, data = trained("embedding=projected")
    batch = parts.model.frontend(parts.loader().batches(0).__next__())
    parts.method.eval()
    with torch.no_grad():
        pooled = parts.model.encoder(batch).pooled
        found = parts.model.embedding(pooled)
        cosines = []
        for member, method in zip(parts.model.encoder.members, parts.method.members, strict=True):
            own = member(batch).pooled
            for kept in (own, method.head(own)):
                kept = normalize(kept, dim=1)
                cosines.append(kept @ kept.T)
    torch.testing.assert_close(found @ found.T, torch.stack(cosines).mean(0))
    assert found.shape[1] == parts.model.embedding.out_dim
    values = embed(parts.model, data).values
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("options", [
    ("method=byol",), ("training.chunk=4",), ("training.precision=bfloat16",),
    ("training.accumulate=2",), ("method.simclr.temperature=learnt",), ("method=swav",
     "method.swav.prototypes=4", "method.swav.queue=16"),
])  # fmt: skip
def test_all_members_learn_with_any_option(options: tuple[str, ...]) -> None:
    parts = trained(*options, fitted=False)[0]
    after = dict(trained(*options)[0].model.encoder.named_parameters())
    before = dict(parts.model.encoder.named_parameters())
    for number in range(3):
        own = [name for name in before if name.startswith(f"members.{number}.")]
        assert all(not torch.equal(before[name], after[name]) for name in own)


def test_a_closed_form_for_each_member_or_one_for_all() -> None:
    for embedding, width in (("each", 3 * 6), ("spectral", 6)):
        own = "{of: {spectral: {dim: 6}}}" if embedding == "each" else "{dim: 6}"
        parts, data = trained(f"embedding={{{embedding}: {own}}}")
        assert embed(parts.model, data).values.shape == (24, width)


def test_a_run_is_resumed_embeds_steps_and_is_fine_tuned(tmp_path: Path) -> None:
    from seqcl.run.finetuning import FinetuneSettings, finetune

    np.savez(tmp_path / "some.npz", X=waves(), y=np.arange(24) % 6)
    settings = Settings(
        sources=[str(tmp_path / "some.npz")], overrides=(SMALL, *STEPS, "embedding=projected")
    )
    pretrain("series", settings, tmp_path / "run")
    pretrain("series", settings, tmp_path / "cut", max_minutes=1e-9)
    assert json.loads((tmp_path / "cut" / "manifest.json").read_text())["train"]["steps"] == 1
    pretrain("series", settings, tmp_path / "cut", resume=True)
    run, values = load(tmp_path / "run"), waves()
    assert np.array_equal(run.embed(values), load(tmp_path / "cut").embed(values))
    steps = run.embed(values, level="step")
    assert steps.shape == (24 * 64, run.model.embedding.out_dim)
    given = FinetuneSettings(
        sources=[str(tmp_path / "some.npz")],
        overrides=("training.steps=2", "training.batch_size=8"),
    )
    finetune(run, given, tmp_path / "fine")
    assert len(load(tmp_path / "fine").predict(values)) == 24


def test_prepare_draws_for_each_member_by_itself() -> None:
    encoder = Ensemble(2, of=Spec("encoders", "beside"))
    encoder.prepare(Batch(torch.randn(8, 2, 64), torch.arange(8)), Rng(0))
    first, second = (member.fixed.state_dict() for member in encoder.members)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert len(encoder.parts) == 4
    assert len(encoder.learners) == 2
