"""The commands, from data to results, and what each leaves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import SMALL, Seqcl

import seqcl as library


@pytest.fixture
def run(seqcl: Seqcl, waves: Path, tmp_path: Path) -> Path:
    seqcl(
        "pretrain", "series", "--data", waves, "--out", "run", "--set", "training.steps=12", *SMALL
    )
    return tmp_path / "run"


def test_help_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; sys.argv = ['seqcl', '--help']\n"
        "from seqcl.cli.main import _run\n"
        "_run()\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pretrain" in done.stdout


def test_importing_seqcl_starts_nothing() -> None:
    code = "import sys, seqcl; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_holds_what_is_promised(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert manifest["channels"] == ["c0", "c1"]
    assert manifest["label_names"] == ["fast", "slow"]
    assert set(manifest["files"]) == {"preset.yaml", "initial.safetensors", "model.safetensors"}
    assert manifest["train"]["weights_moved"] > 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 12
    assert {"loss", "lr", "records_per_s", "relative_std", "rankme"} <= set(lines[-1])
    assert len(list((run / "checkpoints").iterdir())) <= 2


def test_evaluate_prints_controls_and_writes_every_form(
    run: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    done = seqcl(
        "evaluate", run, "--train", waves, "--test", waves, "--task", "linear", "--task", "knn",
        "--json", "e.json", "--predictions", "p.csv", "--report", "r.html",
    )  # fmt: skip
    for system in ("seqcl", "untrained encoder", "minirocket", "raw"):
        assert system in done.stdout
    assert re.search(r"linear: trained minus untrained accuracy [+-]0\.\d+", done.stderr)
    result = json.loads((tmp_path / "e.json").read_text())
    assert {row["system"] for row in result["rows"]} >= {"seqcl", "untrained encoder", "raw"}
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 25
    page = (tmp_path / "r.html").read_text()
    assert "untrained encoder" in page
    assert "https://" not in page


def test_json_on_stdout_is_json_alone(run: Path, seqcl: Seqcl, waves: Path) -> None:
    done = seqcl("evaluate", run, "--train", waves, "--test", waves, "--task", "knn",
                 "--no-controls", "--json", "-")  # fmt: skip
    (row,) = json.loads(done.stdout)["rows"]
    assert row["task"] == "knn"


def test_the_mean_of_each_group_is_taken_away_where_that_is_asked(
    run: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    with np.load(waves) as held:
        groups = np.array(["ann", "ben", "cid"])[np.arange(24) // 8]
        np.savez(tmp_path / "g.npz", X=held["X"], y=held["y"], groups=groups)
    seqcl("embed", run, "--data", "g.npz", "--out", "e.npz", "--threads", "1")
    seqcl("embed", run, "--data", "g.npz", "--out", "c.npz", "--threads", "1", "--centre", "group")
    with np.load(tmp_path / "e.npz") as plain, np.load(tmp_path / "c.npz") as centred:
        for name in ("ann", "ben", "cid"):
            rows = plain["embeddings"][groups == name]
            np.testing.assert_allclose(
                centred["embeddings"][groups == name], rows - rows.mean(0), atol=1e-5
            )
    done = seqcl("evaluate", run, "--train", "g.npz", "--test", "g.npz", "--task", "knn",
                 "--centre", "group", "--json", "-")  # fmt: skip
    assert {row["system"] for row in json.loads(done.stdout)["rows"]} >= {"seqcl", "raw"}
    told = seqcl("embed", run, "--data", waves, "--out", "f.npz", "--centre", "group", code=4)
    assert "24 of 24 records have no group" in told.stderr


@pytest.mark.parametrize("suffix", ["npz", "h5", "parquet"])
def test_embed_writes_what_the_library_returns(
    run: Path, seqcl: Seqcl, waves: Path, tmp_path: Path, suffix: str
) -> None:
    seqcl("embed", run, "--data", waves, "--out", f"e.{suffix}", "--threads", "1")
    found = library.load(run).embed(np.load(waves)["X"], device="cpu")
    np.testing.assert_allclose(_read(tmp_path / f"e.{suffix}"), found, atol=1e-5)


def _read(path: Path) -> np.ndarray:
    if path.suffix == ".npz":
        return np.load(path)["embeddings"]
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            return file["embeddings"][:]
    import pyarrow.parquet as pq

    return np.stack(pq.read_table(path)["embedding"].to_pylist())


def test_step_embeddings_have_one_row_a_step(
    run: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    seqcl("embed", run, "--data", waves, "--out", "s.npz", "--level", "step", "--window", "9")
    arrays = np.load(tmp_path / "s.npz")
    assert arrays["embeddings"].shape[0] == 24 * 64
    assert arrays["lengths"].tolist() == [64] * 24


def test_a_window_of_steps_is_refused_for_one_vector_a_record(seqcl: Seqcl, waves: Path) -> None:
    told = seqcl("embed", ".", "--data", waves, "--out", "e.npz", "--window", "5", code=2).stderr
    assert "--window 5: has no effect beside --level instance" in told


def test_a_dry_run_writes_nothing(seqcl: Seqcl, waves: Path, tmp_path: Path) -> None:
    done = seqcl("pretrain", "series", "--data", waves, "--dry-run", *SMALL)
    for fact in ("modality: sequence", "records", "weights", "memory", "step"):
        assert fact in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"waves.npz"}


def test_a_run_starts_from_another_with_init(
    run: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "two", "--init", run,
          "--set", "training.steps=1", "--set", "training.lr=1e-12", *SMALL)  # fmt: skip
    first, second = (library.load(tmp_path / name).model.encoder for name in ("run", "two"))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-6)


def test_views_are_drawn(seqcl: Seqcl, waves: Path, tmp_path: Path) -> None:
    seqcl("views", "series", "--data", waves, "--out", "v.svg", "--records", "3")
    assert (tmp_path / "v.svg").read_text().count("<polyline") == 3 * 3 * 2
    seqcl("views", "series", "--data", waves, "--out", "v.npz")
    assert np.load(tmp_path / "v.npz")["view1"].shape == (6, 2, 64)


def test_inspect_proposes_a_preset_that_trains(seqcl: Seqcl, waves: Path, tmp_path: Path) -> None:
    assert "extends: series-instant" in seqcl("inspect", waves).stdout
    rng = np.random.default_rng(0)
    rows = [f"2024-01-01T00:{i // 60:02d}:{i % 60:02d},{a:.3f},{b:.3f}"
            for i, (a, b) in enumerate(rng.normal(size=(3000, 2)))]  # fmt: skip
    (tmp_path / "pump.csv").write_text("\n".join(["time,flow,pressure", *rows]))
    done = seqcl("inspect", "pump.csv")
    assert "flow, pressure" in done.stderr
    assert "1 Hz" in done.stderr
    assert "extends: series\n" in done.stdout
    (tmp_path / "mine.yaml").write_text(done.stdout)
    seqcl("pretrain", "mine.yaml", "--data", "pump.csv", "--out", "r", "--set", "training.steps=2")
    seqcl("embed", "r", "--data", "pump.csv", "--out", "e.npz")
    assert len(np.load(tmp_path / "e.npz")["embeddings"]) == 23


def test_report_list_describe_schema_and_doctor(run: Path, seqcl: Seqcl, tmp_path: Path) -> None:
    seqcl("report", run, "--out", "t.html")
    assert "records_per_s" in (tmp_path / "t.html").read_text()
    assert "tcn" in seqcl("list", "encoders").stdout.split()
    described = seqcl("describe", "nt_xent").stdout
    assert "temperature" in described
    assert "float > 0" in described
    schema = json.loads(seqcl("schema").stdout)
    assert "augmentations" in schema["$defs"]
    checks = seqcl("doctor").stdout
    assert "FAIL" not in checks
    assert "one step of preset 'series'" in checks


def test_the_control_is_the_encoder_before_the_first_step(
    run: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "two", "--init", run,
          "--set", "training.steps=2", *SMALL)  # fmt: skip
    begun, first = (
        library.load(tmp_path / "two").untrained().encoder,
        library.load(run).model.encoder,
    )
    for a, b in zip(begun.parameters(), first.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_a_run_keeps_the_grid_that_its_tables_are_brought_to(seqcl: Seqcl, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        times = np.cumsum(rng.uniform(0.2, 4.0, 1_200))
        rows = [f"{t:.2f},{np.sin(t / 9):.3f},{int(t % 200 > 100)}" for t in times]
        (tmp_path / f"{name}.csv").write_text("\n".join(["time,x,label", *rows]) + "\n")
    seqcl("pretrain", "series", "--data", "train.csv", "--out", "run", "--threads", "1", *SMALL,
          "--set", "training.steps=2", "--set", "data.every=2s", "--set", "data.window=50",
          "--set", "data.hop=50")  # fmt: skip
    done = seqcl("embed", "run", "--data", "test.csv", "--out", "e.npz", "--threads", "1")
    assert re.search(r"1,200 rows became 1,\d{3} intervals of 2s \(data\.every\)", done.stderr)
    assert len(np.load(tmp_path / "e.npz")["ids"]) > 20
    done = seqcl("embed", "run", "--data", "test.csv", "--out", "e.npz", "--set",
                 "data.every=5s", code=4)  # fmt: skip
    assert "resample the data (rows with time stamps: --set data.every=2s)" in done.stderr
