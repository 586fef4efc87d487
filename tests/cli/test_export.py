"""`seqcl export`: the graph gives what the run gives, on records that it has not seen."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import SMALL, Seqcl, run_command

import seqcl as library
from seqcl.errors import UsageError
from seqcl.run import Settings, exporting, pretrain
from seqcl.run.exporting import export


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pretrain and fine-tune for a moment, on values far from 0."""
    folder = tmp_path_factory.mktemp("runs")
    values = 100 + 5 * np.random.default_rng(1).normal(size=(16, 2, 40)).cumsum(2)
    np.savez(folder / "train.npz", X=values.astype(np.float32), y=np.arange(16) % 2)
    for command in (
        ("pretrain", "series", "--data", "train.npz", "--out", "first",
         "--set", "training.steps=4", *SMALL),
        ("finetune", "first", "--data", "train.npz", "--out", "tuned", "--batch-size", "8",
         "--set", "training.steps=8"),
    ):  # fmt: skip
        done = run_command(command, folder)
        assert done.returncode == 0, done.stderr
    return folder


def records(runs: Path, count: int, steps: int) -> torch.Tensor:
    values = np.load(runs / "train.npz")["X"][:count]
    return torch.from_numpy(np.concatenate([values, values], axis=2)[:, :, :steps])


def test_a_torch_program_takes_any_batch_and_length(runs: Path, seqcl: Seqcl) -> None:
    done = seqcl("export", runs / "first", "--format", "torch", "--out", runs / "first.pt2")
    least = int(re.search(r"records of (\d+) steps or more", done.stderr)[1])  # type: ignore[index]
    program = torch.export.load(runs / "first.pt2").module()
    assert len(program(records(runs, 3, least))[0]) == 3
    with pytest.raises(AssertionError):
        program(records(runs, 3, least - 1))
    for count, steps in ((1, 40), (9, 57)):
        values = records(runs, count, steps)
        (embedded,) = program(values)
        found = library.load(runs / "first").embed(values.numpy(), device="cpu")
        np.testing.assert_allclose(embedded.numpy(), found, atol=1e-5)


def test_onnx_gives_embeddings_and_probabilities(runs: Path, seqcl: Seqcl, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    seqcl("export", runs / "tuned", "--format", "onnx", "--out", "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    run = library.load(runs / "tuned")
    for count, steps in ((1, 40), (9, 57)):
        values = records(runs, count, steps).numpy()
        embedded, shares = session.run(["embeddings", "predictions"], {"values": values})
        np.testing.assert_allclose(embedded, run.embed(values, device="cpu"), atol=1e-5)
        found = run.predict(values, device="cpu").probabilities
        np.testing.assert_allclose(shares, found, atol=1e-5)


@pytest.fixture(scope="module")
def gaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write series that end early, that miss a step in every channel, and one channel a while."""
    values = 3 + np.random.default_rng(2).normal(size=(9, 2, 20)).astype(np.float32)
    values[0, :, 14:] = values[1, :, 7] = values[2, 0, 3:9] = values[3, 1] = np.nan
    values[4, :, :2] = values[5, 0, 18:] = np.nan
    path = tmp_path_factory.mktemp("gaps") / "gaps.npz"
    np.savez(path, X=values)
    return path


RECURRENT = ("encoder=rnn", "encoder.width=6", "encoder.local_dim=5")
GRAPHS = {
    "gru, held gaps": (*RECURRENT, "encoder.layers=2", "data.missing=hold"),
    "lstm, indicators": (*RECURRENT, "encoder.cell=lstm", "data.missing=indicator"),
    "resnet1d": ("encoder=resnet1d", "encoder.widths=[4,4]", "encoder.stride=2"),
    "each record scaled": ("encoder=resnet1d", "encoder.widths=[4]", "data.scaler=record"),
    "the projection kept": ("encoder=resnet1d", "encoder.widths=[4]", "embedding=projected"),
}


@pytest.mark.parametrize("sets", GRAPHS.values(), ids=GRAPHS)
def test_onnx_gives_what_the_run_gives_for_gaps_and_padding_of_any_length(
    sets: tuple[str, ...], gaps: Path, tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    overrides = (*sets, "training.steps=1", "training.batch_size=4", "training.diagnose_every=0")
    settings = Settings(sources=(str(gaps),), overrides=overrides, device="cpu")
    pretrain("series", settings, tmp_path / "run")
    run = library.load(tmp_path / "run")
    made = export(run, "onnx", tmp_path / "m.onnx")
    assert made.any_length
    assert made.gaps
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    values = np.load(gaps)["X"]
    for given in (values, np.concatenate((values[5:], values[:4]), axis=2)):
        (embedded,) = session.run(None, {"values": given})
        np.testing.assert_allclose(embedded, run.embed(given, device="cpu"), atol=1e-5)


def test_an_image_encoder_is_one_graph(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    images = np.random.default_rng(0).random((8, 3, 9, 12)).astype(np.float32)
    np.savez(tmp_path / "x.npz", X=images)
    overrides = ("encoder.width=4", "training.steps=1", "training.batch_size=4")
    settings = Settings(sources=(str(tmp_path / "x.npz"),), overrides=overrides, device="cpu")
    pretrain("image-simclr", settings, tmp_path / "run")
    run = library.load(tmp_path / "run")
    export(run, "onnx", tmp_path / "m.onnx")
    (embedded,) = runtime.InferenceSession(tmp_path / "m.onnx").run(None, {"values": images[:5]})
    np.testing.assert_allclose(embedded, run.embed(images[:5], device="cpu"), atol=1e-5)


def test_an_encoder_that_cannot_be_traced_says_so(seqcl: Seqcl, runs: Path) -> None:
    seqcl("pretrain", "series-instant", "--data", runs / "train.npz", "--out", "instant")
    done = seqcl("export", "instant", "--format", "torch", "--out", "m.pt2", code=2)
    assert "encoder joined cannot be exported" in done.stderr


def test_export_to_a_folder_that_is_not_there(seqcl: Seqcl, runs: Path) -> None:
    done = seqcl("export", runs / "first", "--format", "torch", "--out", "no/m.pt2", code=2)
    assert "there is no folder no" in done.stderr


def test_onnx_needs_its_extra(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"pip install 'seqcl\[export\]'"):
        export(library.load(runs / "first"), "onnx", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_nothing_is_written_where_the_graph_is_not_the_model(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqcl.run.exporting._TOLERANCE", -1.0)
    with pytest.raises(UsageError, match="differs from the Model"):
        export(library.load(runs / "first"), "torch", tmp_path / "m.pt2")
    assert not (tmp_path / "m.pt2").exists()


@pytest.mark.parametrize(("records", "output"), [(3, 1), (67, 0)])
def test_nan_is_a_difference_in_any_sample_and_any_output(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: int, output: int
) -> None:
    """The samples have 3 and 67 records, the outputs are embeddings and predictions."""
    made = exporting._torch

    def spoilt(program: torch.export.ExportedProgram) -> tuple[bytes, Any]:
        raw, call = made(program)

        def called(values: torch.Tensor) -> list[torch.Tensor]:
            found = list(call(values))
            if len(values) == records:
                found[output] = torch.full_like(found[output], torch.nan)
            return found

        return raw, called

    monkeypatch.setattr(exporting, "_torch", spoilt)
    with pytest.raises(UsageError, match="differs from the Model by nan"):
        export(library.load(runs / "tuned"), "torch", tmp_path / "m.pt2")
    assert not (tmp_path / "m.pt2").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_that_has_embedded_on_a_gpu_is_exported(runs: Path, tmp_path: Path) -> None:
    run = library.load(runs / "first")
    run.embed(records(runs, 2, 40).numpy(), device="cuda")
    assert export(run, "torch", tmp_path / "m.pt2").path.exists()
