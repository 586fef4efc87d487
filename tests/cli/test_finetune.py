"""`seqcl finetune` and `seqcl predict`: from labels to predictions, and what cannot be learnt."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from command_line import SMALL, Seqcl, run_command

import seqcl as library

QUICK = ("--threads", "1", "--batch-size", "8")
STEPS = ("--set", "training.steps=60")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pretrain for a moment on two kinds of waves."""
    folder = tmp_path_factory.mktemp("pretrained")
    rng = np.random.default_rng(1)
    values = rng.normal(size=(24, 2, 64)).cumsum(2).astype(np.float32)
    np.savez(folder / "plain.npz", X=values)
    done = run_command(
        ("pretrain", "series", "--data", "plain.npz", "--out", "run",
         "--set", "training.steps=4", *SMALL), folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "run"


def waves_with(path: Path, labels: object, count: int = 24, **more: object) -> Path:
    """Write waves (count, 2, 64) whose frequency rises over the first two rows of every four."""
    rng = np.random.default_rng(3)
    speed = 0.2 + 0.3 * (np.arange(count) % 2)
    values = np.sin(np.arange(64) * speed[:, None, None] + rng.uniform(0, 6, (count, 2, 1)))
    values += 0.1 * rng.normal(size=values.shape)
    np.savez(path, X=values.astype(np.float32), y=np.asarray(labels), **more)
    return path


def test_classes_are_learnt_kept_and_predicted(
    pretrained: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    done = seqcl("finetune", pretrained, "--data", waves, "--val", waves, "--out", "tuned",
                 *QUICK, *STEPS)  # fmt: skip
    assert "accuracy 1.0000" in done.stderr
    manifest = json.loads((tmp_path / "tuned" / "manifest.json").read_text())
    assert manifest["label_names"] == ["fast", "slow"]
    assert "head.safetensors" in manifest["files"]
    seqcl("predict", "tuned", "--data", waves, "--out", "p.csv", "--threads", "1")
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [row["prediction"] for row in rows] == np.load(waves)["y"].tolist()
    assert all(abs(float(row["p_fast"]) + float(row["p_slow"]) - 1) < 1e-5 for row in rows)
    seqcl("predict", "tuned", "--data", waves, "--out", "p.npz", "--threads", "1")
    seqcl("predict", "tuned", "--data", waves, "--out", "p.parquet", "--threads", "1")
    arrays = np.load(tmp_path / "p.npz")
    table = pq.read_table(tmp_path / "p.parquet").to_pydict()
    found = library.load(tmp_path / "tuned").predict(np.load(waves)["X"], device="cpu")
    assert table["prediction"] == list(found.labels) == arrays["predictions"].tolist()
    np.testing.assert_allclose(arrays["probabilities"], found.probabilities, atol=1e-5)
    np.testing.assert_allclose(table["p_slow"], found.probabilities[:, 1], atol=1e-5)
    seqcl("embed", "tuned", "--data", waves, "--out", "e.npz")
    done = seqcl("evaluate", "tuned", "--train", waves, "--test", waves, "--task", "knn")
    assert "untrained encoder" in done.stdout
    seqcl("report", "tuned", "--out", "t.html")
    assert "validation_loss" in (tmp_path / "t.html").read_text()


def test_several_tags_a_record(pretrained: Path, seqcl: Seqcl, tmp_path: Path) -> None:
    labels = ["noise" if row % 2 else "leak|noise" for row in range(24)]
    labels[0] = "leak"
    data = waves_with(tmp_path / "tags.npz", labels)
    seqcl("finetune", pretrained, "--data", data, "--out", "tuned", *QUICK, *STEPS,
          "--set", "finetune.separator='|'")  # fmt: skip
    seqcl("predict", "tuned", "--data", data, "--out", "p.csv")
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert set(rows[0]) == {"id", "prediction", "p_leak", "p_noise"}
    assert [row["prediction"] for row in rows[1:]] == labels[1:]
    found = library.load(tmp_path / "tuned").predict(np.load(data)["X"])
    assert found.labels[2] == ("leak", "noise")


def test_a_separator_that_is_in_no_label_is_told(
    pretrained: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    data = waves_with(tmp_path / "tags.npz", ["noise", "leak|noise"] * 12)
    for separator, told in ((r"\|", True), ('"|"', False)):
        done = seqcl("finetune", pretrained, "--data", data, "--out", f"tuned{told}", *QUICK,
                     "--set", "training.steps=2",
                     "--set", f"finetune.separator={separator}")  # fmt: skip
        assert ("is in no label, such as 'noise'" in done.stderr) == told


def test_values_come_back_in_their_units(pretrained: Path, seqcl: Seqcl, tmp_path: Path) -> None:
    values = 1000.5 + 100 * (np.arange(24) % 2)
    data = waves_with(tmp_path / "values.npz", values)
    seqcl("finetune", pretrained, "--data", data, "--out", "tuned", *QUICK,
          "--set", "training.steps=100")  # fmt: skip
    seqcl("predict", "tuned", "--data", data, "--out", "p.csv")
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert set(rows[0]) == {"id", "prediction"}
    error = np.array([float(row["prediction"]) for row in rows]) - values
    assert np.sqrt(np.mean(error**2)) < 25
    found = library.load(tmp_path / "tuned").predict(np.load(data)["X"])
    assert found.probabilities is None
    assert isinstance(found.labels[0], float)


def test_a_frozen_encoder_is_the_run_it_came_from(
    pretrained: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    seqcl("finetune", pretrained, "--data", waves, "--out", "tuned", *QUICK,
          "--set", "training.steps=12", "--set", "finetune.freeze=true")  # fmt: skip
    before, after = (library.load(path).model for path in (pretrained, tmp_path / "tuned"))
    for (name, a), b in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    head = library.load(tmp_path / "tuned").head
    assert head.linear.weight.abs().max() > 0


def test_resuming_gives_the_same_bits(
    pretrained: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    options = ("finetune", pretrained, "--data", waves, "--val", waves, *QUICK,
               "--set", "training.steps=30", "--set", "training.checkpoint_every=10",
               "--set", "finetune.validate_every=4", "--set", "finetune.augment=true")  # fmt: skip
    seqcl(*options, "--out", "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000030")
    facts = json.loads((tmp_path / "cut" / "manifest.json").read_text())
    for name in ("files", "train"):
        del facts[name]
    (tmp_path / "cut" / "manifest.json").write_text(json.dumps(facts))
    assert "not finished" in seqcl("predict", "cut", "--data", waves, "--out", "p.csv",
                                   code=12).stderr  # fmt: skip
    done = seqcl(*options, "--out", "cut", "--resume")
    assert "resumed after step 20" in done.stderr
    for name in ("model.safetensors", "head.safetensors"):
        whole, cut = ((tmp_path / run / name).read_bytes() for run in ("whole", "cut"))
        assert whole == cut, name
    looks = [
        [line for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()
         if "validation_loss" in line]
        for run in ("whole", "cut")
    ]  # fmt: skip
    assert looks[0] == looks[1]
    changed = seqcl(*options, "--out", "cut", "--resume", code=2)
    assert "is finished" in changed.stderr


def test_a_changed_option_is_no_resumption(
    pretrained: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    call = ("finetune", pretrained, "--data", waves, "--out", "tuned", *QUICK, "--max-minutes",
            "0.00001")  # fmt: skip
    seqcl(*call)
    done = seqcl(*call, "--resume", "--set", "finetune.layer_decay=0.5", code=2)
    assert "finetune.options.layer_decay was 0.75, now 0.5" in done.stderr


def test_few_labels_are_counted_and_drawn(pretrained: Path, seqcl: Seqcl, tmp_path: Path) -> None:
    data = waves_with(tmp_path / "many.npz", ["slow", "fast"] * 100, 200)
    few = ("--set", "training.steps=2", *QUICK)
    done = seqcl("finetune", pretrained, "--data", data, "--out", "a", "--labels", "5-per-class",
                 *few)  # fmt: skip
    assert "10 labelled records, none held out" in done.stderr
    done = seqcl("finetune", pretrained, "--data", data, "--out", "b", *few)
    assert "40 of 200 labelled records are held out" in done.stderr
    records = json.loads((tmp_path / "b" / "manifest.json").read_text())["data"]["records"]
    assert records == 160


def test_a_class_of_one_record_is_trained_on_and_told(
    pretrained: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    data = waves_with(tmp_path / "rare.npz", ["slow", "fast"] * 11 + ["slow", "odd"])
    done = seqcl("finetune", pretrained, "--data", data, "--out", "tuned", *QUICK,
                 "--set", "training.steps=2", "--set", "finetune.validation=0.2")  # fmt: skip
    assert "classes 'odd' have too few records to hold any out" in done.stderr
    assert library.load(tmp_path / "tuned").targets.classes == ("fast", "odd", "slow")


def test_records_without_a_label_are_left_out_and_told(
    pretrained: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    labels = np.arange(24, dtype=float) % 2
    labels[:4] = np.nan
    data = waves_with(tmp_path / "some.npz", labels)
    done = seqcl("finetune", pretrained, "--data", data, "--out", "tuned", *QUICK,
                 "--set", "training.steps=2")  # fmt: skip
    assert "4 of 24 training records have no label and are left out" in done.stderr


def test_values_far_from_0_that_lie_close_together_keep_their_digits(
    pretrained: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    values = 1.7e9 + 30.25 * (np.arange(24) % 2)
    data = waves_with(tmp_path / "times.npz", values)
    seqcl("finetune", pretrained, "--data", data, "--out", "tuned", *QUICK,
          "--set", "finetune.task=regression", "--set", "training.steps=100")  # fmt: skip
    seqcl("predict", "tuned", "--data", data, "--out", "p.csv")
    found = [float(row["prediction"]) for row in csv.DictReader((tmp_path / "p.csv").open())]
    assert np.sqrt(np.mean((np.array(found) - values) ** 2)) < 8


def test_numbers_that_hardly_repeat_are_told_where_they_are_classes(
    pretrained: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    data = waves_with(tmp_path / "many.npz", np.arange(24) // 2 * 2 + np.arange(24) % 2)
    done = seqcl(
        "finetune", pretrained, "--data", data, "--out", "tuned", *QUICK, *STEPS,
        "--set", "finetune.task=classification", "--set", "finetune.validation=0",
    )  # fmt: skip
    assert "24 classes of 24 records: finetune.task=regression takes their" in done.stderr


def test_a_class_below_0_is_a_number_in_every_form(
    pretrained: Path, seqcl: Seqcl, tmp_path: Path
) -> None:
    data = waves_with(tmp_path / "signs.npz", 2 * (np.arange(24) % 2) - 1)
    seqcl("finetune", pretrained, "--data", data, "--out", "tuned", *QUICK, *STEPS)
    seqcl("predict", "tuned", "--data", data, "--out", "p.csv")
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert {row["prediction"] for row in rows} == {"-1", "1"}
    told = seqcl("evaluate", pretrained, "--train", data, "--test", data, "--predictions", "e.csv")
    assert told.returncode == 0
    rows = list(csv.DictReader((tmp_path / "e.csv").open()))
    assert {row["label"] for row in rows} == {"-1", "1"}


def fault(seqcl: Seqcl, run: Path, data: object, *more: str, code: int) -> str:
    done = seqcl("finetune", run, "--data", data, "--out", "tuned", *QUICK, *more, code=code)
    assert "seqcl: " in done.stderr
    return done.stderr


def test_labels_that_cannot_be_learnt(
    pretrained: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "none.npz", X=np.load(waves)["X"])
    assert "none of the 24 training records has a label" in fault(
        seqcl, pretrained, "none.npz", code=4
    )
    one = waves_with(tmp_path / "one.npz", ["slow"] * 24)
    assert "at least two classes are needed" in fault(seqcl, pretrained, one, code=4)
    assert not (tmp_path / "tuned").exists()
    other = waves_with(tmp_path / "other.npz", ["slow", "new"] * 12)
    told = fault(seqcl, pretrained, waves, "--val", str(other), code=4)
    assert "no training record has class 'new'" in told
    assert "is text and finetune.task=regression needs numbers" in fault(
        seqcl, pretrained, waves, "--set", "finetune.task=regression", code=4
    )
    assert "--labels 20-per-class: class" in fault(
        seqcl, pretrained, waves, "--labels", "20-per-class", code=4
    )
    grouped = waves_with(tmp_path / "g.npz", ["slow", "fast"] * 12, groups=np.repeat("a", 24))
    told = fault(seqcl, pretrained, grouped, "--set", "finetune.validation=0.2", code=4)
    assert "give --val, or set finetune.validation=0" in told


def test_wrong_channels_and_options(
    pretrained: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "three.npz", X=np.ones((8, 3, 64)), y=np.arange(8) % 2)
    assert "3" in fault(seqcl, pretrained, "three.npz", code=4)
    told = fault(seqcl, pretrained, waves, "--set", "finetune.layer_deacy=0.5", code=2)
    assert "Did you mean 'layer_decay'?" in told
    told = fault(seqcl, pretrained, waves, "--set", "encoder.widths=[4]", code=2)
    assert "cannot be changed once a run is trained" in told
    assert "layer_decay" in seqcl("describe", "finetune").stdout


def test_faults_of_all_sections_are_told_at_once(
    pretrained: Path, seqcl: Seqcl, waves: Path
) -> None:
    wrong = ("finetune.freze=true", "training.stepz=3", "encoder.width=3")
    told = fault(seqcl, pretrained, waves, *(part for one in wrong for part in ("--set", one)),
                 code=2)  # fmt: skip
    assert "Did you mean 'freeze'" in told
    assert "Did you mean 'steps'" in told
    assert "--set encoder.width=3: cannot be changed once a run is trained" in told


def test_a_run_without_a_head_predicts_nothing(pretrained: Path, seqcl: Seqcl, waves: Path) -> None:
    done = seqcl("predict", pretrained, "--data", waves, "--out", "p.csv", code=2)
    assert "'seqcl finetune' makes a run with one" in done.stderr
    done = seqcl("predict", pretrained, "--data", waves, "--out", "p.txt", code=2)
    assert "Known: .csv, .npz, .parquet" in done.stderr


def test_pretraining_from_a_tuned_run_says_that_it_has_seen_labels(
    pretrained: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    seqcl("finetune", pretrained, "--data", waves, "--out", "tuned", *QUICK,
          "--set", "training.steps=2")  # fmt: skip
    done = seqcl("pretrain", "series", "--data", waves, "--out", "next", "--init", "tuned",
                 "--set", "training.steps=2", *SMALL)  # fmt: skip
    assert "its encoder was fine-tuned, so it has seen labels" in done.stderr
    notes = json.loads((tmp_path / "next" / "manifest.json").read_text())["notes"]
    assert any("has seen labels" in note for note in notes)


def test_a_damaged_head_is_found(
    pretrained: Path, seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    seqcl("finetune", pretrained, "--data", waves, "--out", "tuned", *QUICK,
          "--set", "training.steps=2")  # fmt: skip
    path = tmp_path / "tuned" / "head.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))
    done = seqcl("predict", "tuned", "--data", waves, "--out", "p.csv", code=12)
    assert "head.safetensors: its sha256 is not the one that was noted" in done.stderr
