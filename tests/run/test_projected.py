"""`embedding: projected`: the head of the method goes with the model, and only that one."""

from pathlib import Path

import numpy as np
import pytest
import torch

import seqcl
from seqcl.config.preset import Preset, load_preset
from seqcl.data.dataset import dataset_from_arrays
from seqcl.errors import PresetError
from seqcl.run.finetuning import FinetuneSettings, finetune
from seqcl.run.fitting import Parts, assemble, fit
from seqcl.run.pretraining import Settings, pretrain
from seqcl.training.embed import embed

X = np.random.default_rng(0).normal(size=(24, 2, 40)).astype(np.float32)


def preset(name: str, *changes: str) -> Preset:
    return load_preset(name, (*changes, "training.steps=6", "training.batch_size=8"))


def parts_of(name: str, *changes: str) -> Parts:
    return assemble(
        preset(name, *changes), dataset_from_arrays(X), seed=0, device=torch.device("cpu")
    )


@pytest.mark.parametrize("name", ["series", "series-swav", "series-byol", "series-moco"])
def test_both_are_kept_at_length_one_as_the_method_left_them(name: str) -> None:
    parts = parts_of(name, "embedding=projected")
    before = parts.model.embedding.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    fit(parts)
    assert parts.method is not None
    head, model, data = parts.method.head.eval(), parts.model, dataset_from_arrays(X)  # type: ignore[operator, union-attr]
    found = embed(model, data).values
    model.embedding = type(model.embedding)(model.encoder.out_dim, keep="both")  # type: ignore[call-arg]
    batch = model.collate()([data.record(row) for row in range(24)])
    with torch.no_grad():
        pooled = model.encoder(model.frontend(batch)).pooled
        projected = torch.nn.functional.normalize(head.cpu()(pooled), dim=1)  # type: ignore[operator]
    pooled = torch.nn.functional.normalize(pooled, dim=1)
    wanted = torch.cat([pooled, projected], dim=1) / 2**0.5
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    learnt = parts.method.head.state_dict()  # type: ignore[union-attr]
    assert any(not torch.equal(before[f"head.{key}"], learnt[key]) for key in learnt)


def test_the_projection_may_be_kept_alone() -> None:
    parts = parts_of("series", "embedding=projected", "embedding.keep=projection")
    fit(parts)
    assert embed(parts.model, dataset_from_arrays(X)).values.shape == (24, 128)


def test_a_run_keeps_the_head_and_its_untrained_control_the_first_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=X)
    settings = Settings(sources=(str(tmp_path / "x.npz"),))
    pretrain(preset("series", "embedding=projected"), settings, tmp_path / "run")
    run = seqcl.load(tmp_path / "run")
    first, last = run.untrained().embedding, run.model.embedding
    assert any(
        not torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), last.state_dict().values(), strict=True)
    )
    assert run.embed(X).shape == (24, run.model.encoder.out_dim + 128)


def test_a_run_with_a_projection_is_fine_tuned_and_opened_again(tmp_path: Path) -> None:
    y = np.arange(24) % 2
    np.savez(tmp_path / "x.npz", X=X + 3 * y[:, None, None], y=y)
    settings = Settings(sources=(str(tmp_path / "x.npz"),))
    pretrain(preset("series", "embedding=projected"), settings, tmp_path / "run")
    tuning = FinetuneSettings(
        sources=settings.sources, overrides=("training.steps=4", "finetune.validation=0")
    )
    finetune(seqcl.load(tmp_path / "run"), tuning, tmp_path / "tuned")
    tuned = seqcl.load(tmp_path / "tuned")
    assert tuned.predict(X).probabilities.shape == (24, 2)
    kept, before = tuned.model.embedding, seqcl.load(tmp_path / "run").model.embedding
    for name, weight in before.state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], weight)


def test_what_has_no_head_and_another_head_are_told() -> None:
    with pytest.raises(PresetError, match="method none has none"):
        parts_of("series", "method=none", "embedding=projected")
    with pytest.raises(PresetError, match="embedding=identity"):
        parts_of("ts2vec", "embedding=projected")
    for changes in ((), ("method.width=1024",)):  # as wide as the encoder's output
        with pytest.raises(PresetError, match="TSTCC has none for the encoder's output"):
            parts_of("ts-tcc", "embedding=projected", *changes)
    with pytest.raises(PresetError, match="takes the head of a method, and method is none"):
        parts_of("series-instant", "embedding=projected", "embedding.head=mlp")
    with pytest.raises(PresetError, match=r"other layers .* leave embedding.head out"):
        parts_of("series", "embedding=projected", "embedding.head=linear")
