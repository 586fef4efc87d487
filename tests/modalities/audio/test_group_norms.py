"""`normalise: group`: each speaker's, microphone's or room's records by its own statistics."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from seqcl import load
from seqcl import model as model_module
from seqcl.batch import Batch, Record
from seqcl.config.preset import load_preset
from seqcl.data.collate import collate_rows
from seqcl.data.dataset import Dataset, dataset_from_arrays
from seqcl.data.store_writer import write_records
from seqcl.modalities.audio.frontend import LogMel
from seqcl.model import Model
from seqcl.rng import Rng
from seqcl.run.build import build_model, prepare, sample_of
from seqcl.run.exporting import export
from seqcl.run.fitting import assemble
from seqcl.run.pretraining import Settings, pretrain
from seqcl.training.embed import embed
from seqcl.views.base import Frontend

WAVES = [np.random.default_rng(n).normal(0, 0.1, (1, 8_000 + 900 * n)) for n in range(12)]


def grouped(groups: list[str] | None, gains: list[float] | None = None) -> Dataset:
    gains = gains or [1.0] * len(WAVES)
    waves = [(wave * gain).astype(np.float32) for wave, gain in zip(WAVES, gains, strict=True)]
    return dataset_from_arrays(waves, groups=groups)


def front_end(floor: float = 1e-12) -> LogMel:
    front = LogMel(1, bands=20, normalise="group", floor=floor)
    front.prepare(Batch(torch.randn(4, 1, 16_000), torch.arange(4)), Rng(0))
    return front


def model_of(dataset: Dataset, *changes: str) -> Model:
    small = ("method=none", "embedding=identity", "encoder.conv2d.widths=[4,8]", *changes)
    preset = load_preset("audio-clip", ("frontend.normalise=group", "frontend.floor=1e-12", *small))
    model = build_model(preset, dataset.channels, 16_000, seed=0)
    prepare(model, dataset, seed=0)
    return model.eval()


def test_norms_are_those_of_each_group_drawn_towards_the_training_data() -> None:
    front = front_end()
    waves = torch.randn(5, 1, 4_000) * torch.tensor([1, 1, 1, 3, 3]).view(5, 1, 1)
    batch = Batch(waves, torch.arange(5), groups=torch.tensor([0, 0, 0, 1, 1]))
    norms = front.group_norms([batch[slice(0, 2)], batch[slice(2, 5)]], 2)
    plain = LogMel(1, bands=20, normalise="none", floor=1e-12)(batch).values.double()
    for group, rows in ((0, slice(0, 3)), (1, slice(3, 5))):
        own = plain[rows].transpose(0, 1).flatten(1)
        share = own.shape[1] / (own.shape[1] + 50)
        mean = share * own.mean(1) + (1 - share) * front.mean[:, 0]
        variance = share * own.var(1, correction=0) + (1 - share) * front.std[:, 0].square()
        variance += share * (1 - share) * (own.mean(1) - front.mean[:, 0]).square()
        np.testing.assert_allclose(norms[group, 0], mean, rtol=1e-5)
        np.testing.assert_allclose(norms[group, 1], variance.sqrt(), rtol=1e-4)


def test_a_record_without_a_group_is_one_of_its_own() -> None:
    front = front_end()
    batch = Batch(torch.randn(3, 1, 4_000), torch.arange(3), groups=torch.arange(3))
    norms = front.group_norms([batch], 3)
    alone = front(batch).values
    torch.testing.assert_close(front(batch.with_values(batch.values, norms=norms)).values, alone)
    norms[1] = torch.nan
    torch.testing.assert_close(front(batch.with_values(batch.values, norms=norms)).values, alone)


def test_a_group_that_is_louder_throughout_is_not_told_apart() -> None:
    half = len(WAVES) // 2
    names, gains = ["a"] * half + ["b"] * half, [1.0] * half + [20.0] * half
    quiet, loud = grouped(names), grouped(names, gains)
    model, plain = model_of(quiet), model_of(quiet, "frontend.normalise=band")
    np.testing.assert_allclose(
        embed(model, loud).values[:half], embed(model, quiet).values[:half], atol=1e-5
    )

    def changed(model: Model) -> float:
        views = [
            model.frontend(collate_rows(data, np.arange(half, 2 * half), model.collate(data)))
            for data in (loud, quiet)
        ]
        return float((views[0].values - views[1].values).abs().mean())

    # 50 frames of the training data count beside the 550 of the group.
    assert changed(model) < 0.15 * changed(plain)


def test_groups_may_be_left_out_so_that_no_record_depends_on_another() -> None:
    whole = grouped(["a", "b"] * 6, [1.0, 9.0] * 6)
    model = model_of(whole)
    alone = embed(model, grouped(None, [1.0, 9.0] * 6)).values
    np.testing.assert_allclose(embed(model, whole, by_group=False).values, alone, atol=1e-6)
    part = whole.subset(np.array([1, 4, 5]))
    found = embed(model, part, by_group=False).values
    np.testing.assert_allclose(found, alone[[1, 4, 5]], atol=1e-6)
    mixed = grouped(["a", "b"] * 5 + ["", ""], [1.0, 9.0] * 6)
    np.testing.assert_allclose(embed(model, mixed).values[10:], alone[10:], atol=1e-6)
    assert np.abs(embed(model, mixed).values[:10] - alone[:10]).max() > 1e-3


def test_training_and_its_probes_go_by_groups_too() -> None:
    data = grouped(["a", "b"] * 6, [1.0, 30.0] * 6)
    others = grouped(["c"] * 12, [5.0] * 12)
    preset = load_preset("audio-clip", ("frontend.normalise=group", "training.batch_size=6"))
    parts = assemble(preset, data, seed=0, device=torch.device("cpu"))
    batch = next(parts.loader().batches())
    assert batch.norms is not None
    assert batch.groups is not None

    def apart(front: Frontend, batch: Batch) -> float:
        view = front(batch)
        assert view.mask is not None
        steps = view.values.transpose(1, 2)
        of = [steps[batch.groups == group][view.mask[batch.groups == group]] for group in (0, 1)]
        return float(of[1].mean() - of[0].mean())

    plain = LogMel(1)
    plain.load_state_dict(parts.model.frontend.state_dict())
    unaware = apart(plain, batch)
    assert unaware > 1.0
    assert abs(apart(parts.model.frontend, batch)) < unaware / 2
    watched = sample_of(parts.model, others, seed=0)
    expected = parts.model.collate(others).norms
    assert expected is not None
    assert watched.norms is not None
    torch.testing.assert_close(watched.norms, expected.expand(12, -1, -1))


def test_some_records_of_a_part_keep_the_norms_of_its_groups() -> None:
    data = grouped(["a", "b"] * 6, [1.0, 30.0] * 6)
    rows = np.array([0, 1, 3, 4])
    model = model_of(data)
    some, whole = (sample_of(model, data, 0, among=among) for among in (rows, None))
    assert some.norms is not None
    assert whole.norms is not None
    torch.testing.assert_close(some.norms, whole.norms[rows], rtol=0, atol=0)
    alone = sample_of(model, data.subset(rows), 0).norms
    assert alone is not None
    assert (alone - some.norms).abs().max() > 1e-3


def test_data_without_groups_are_told_of() -> None:
    data = grouped(None)
    model_of(data)
    assert any("data.group" in note for note in data.notes)


def test_a_part_in_which_no_record_has_a_group_is_taken_record_by_record() -> None:
    mixed = grouped(["a", "b"] * 5 + ["", ""])
    model = model_of(mixed)
    alone = mixed.subset(np.array([10, 11]))
    found = embed(model, alone).values
    np.testing.assert_allclose(found, embed(model, mixed).values[10:], atol=1e-6)


def test_one_long_record_does_not_pad_the_others() -> None:
    waves = [np.zeros((1, 2_000), np.float32)] * 600 + [np.zeros((1, 900_000), np.float32)]
    data = dataset_from_arrays(waves, groups=["a", "b", "c"] * 200 + ["a"])
    parts = list(model_module._of_groups(data))
    assert sorted(np.concatenate(parts).tolist()) == list(range(601))
    padded = [len(rows) * int(data.lengths[rows].max()) for rows in parts]
    assert max(padded) <= model_module._STEPS
    assert len(parts) == 3


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_a_sound_program_takes_batches_of_any_size(
    form: Literal["torch", "onnx"], tmp_path: Path
) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    waves = [np.random.default_rng(n).normal(0, 0.1, (1, 4_000)) for n in range(8)]
    write_records(
        tmp_path / "x.h5",
        [
            Record(wave.astype(np.float32), f"r{n}", rate_hz=16_000.0)
            for n, wave in enumerate(waves)
        ],
    )
    changes = ("frontend.normalise=group", "training.steps=1", "training.batch_size=4",
               "encoder.conv2d.widths=[4]", "training.diagnose_every=0")  # fmt: skip
    settings = Settings(sources=(str(tmp_path / "x.h5"),), overrides=changes, device="cpu")
    pretrain("audio-clip", settings, tmp_path / "run")
    run = load(tmp_path / "run")
    export(run, form, tmp_path / "model")
    values = np.stack(waves * 4).astype(np.float32)
    if form == "onnx":
        from onnxruntime import InferenceSession

        (found,) = InferenceSession(tmp_path / "model").run(None, {"values": values})
    else:
        (found,) = torch.export.load(tmp_path / "model").module()(torch.from_numpy(values))
    np.testing.assert_allclose(found, run.embed(values, device="cpu"), atol=1e-5)
