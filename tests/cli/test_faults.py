"""Bad input and bad luck: one line that says where, what and what to do, and the exit code."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import SMALL, Seqcl

from seqcl.cli.main import _run, main

STEPS = ("--set", "training.steps=3")


def csv(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def pretrain(seqcl: Seqcl, data: object, *more: str, code: int) -> str:
    done = seqcl(
        "pretrain", "series", "--data", data, "--out", "run", *STEPS, *SMALL, *more, code=code
    )
    assert done.stderr.count("seqcl: ") >= 1
    return done.stderr


def test_faults_of_a_preset_are_told_at_once(seqcl: Seqcl, waves: Path, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "extends: series\nmethod: {simclr: {loss: {nt_xent: {temprature: 1}}}}\n"
        "training: {lr: .nan, batch_size: '8', weight_decay: -1}\nencoder: tnc\n"
    )
    done = seqcl("pretrain", "p.yaml", "--data", waves, "--out", "run", code=2)
    assert done.stderr.count("seqcl: p.yaml: ") == 5
    assert "Did you mean 'temperature'?" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modality: sequence\nmodality: sequence\n", "p.yaml:2: key 'modality' stands twice"),
        ("a: &a [x]\nb: [*a, *a]\n", "p.yaml:2: aliases are not allowed"),
        ("a: " + "[" * 1000, "nested deeper"),
        ("", "p.yaml: is empty"),
        ("a:\n\t- b", "p.yaml:2: not valid YAML"),
    ],
)
def test_a_broken_preset_file(
    seqcl: Seqcl, waves: Path, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    assert message in seqcl("pretrain", "p.yaml", "--data", waves, "--out", "r", code=2).stderr


def test_unknown_names_say_what_was_meant(seqcl: Seqcl, waves: Path) -> None:
    assert "Did you mean 'pretrain'?" in seqcl("pretrian", code=2).stderr
    assert (
        "Did you mean 'series'?"
        in seqcl("pretrain", "serie", "--data", waves, "--out", "r", code=2).stderr
    )
    assert "is a plain value" in pretrain(seqcl, waves, "--set", "training.lr.x=1", code=2)


def test_a_missing_path_exits_with_10(seqcl: Seqcl, waves: Path) -> None:
    assert "waves.npz" in pretrain(seqcl, "wave.npz", code=10)


def test_an_empty_folder_names_the_known_suffixes(seqcl: Seqcl, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert ".csv" in pretrain(seqcl, "empty", code=4)


def test_no_permission_exits_with_10(seqcl: Seqcl, waves: Path) -> None:
    waves.chmod(0)
    if os.access(waves, os.R_OK):
        pytest.skip("this user may read everything (root)")
    assert "permission" in pretrain(seqcl, waves, code=10).lower()


def test_an_all_missing_column_is_named(seqcl: Seqcl, tmp_path: Path) -> None:
    csv(tmp_path / "a.csv", "flow,level", [f"{i % 7},NaN" for i in range(64)])
    told = pretrain(seqcl, "a.csv", "--set", "data.window=16", code=4)
    assert "level" in told
    assert "data.columns" in told


def test_data_without_any_variation_is_bad_data(seqcl: Seqcl, tmp_path: Path) -> None:
    np.savez(tmp_path / "flat.npz", X=np.ones((8, 1, 40), np.float32))
    done = seqcl("pretrain", "series-instant", "--data", "flat.npz", "--out", "r", code=4)
    assert "every channel is constant" in done.stderr
    assert not (tmp_path / "r" / "preset.yaml").exists()


def test_what_an_embedding_needs_is_told_before_the_training(seqcl: Seqcl, tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", X=np.random.default_rng(0).normal(size=(8, 1, 40)))
    done = seqcl("pretrain", "series", "--data", "bare.npz", "--out", "r", "--set",
                 "embedding=spectral", "--set", "embedding.alike=label", code=4)  # fmt: skip
    assert "no record has a label" in done.stderr
    assert not (tmp_path / "r" / "preset.yaml").exists()


def test_a_constant_column_trains(seqcl: Seqcl, tmp_path: Path) -> None:
    csv(tmp_path / "a.csv", "flow,level", [f"{i % 7},5" for i in range(128)])
    done = seqcl("pretrain", "series", "--data", "a.csv", "--out", "run", *STEPS, *SMALL,
                 "--set", "data.window=16")  # fmt: skip
    assert "level" in done.stderr


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["2024-01-01,1", "2024-01-02,2,9", "2024-01-03,3"], "a.csv:3"),
        (["2024-01-01,1", "2024-01-03,2", "2024-01-02,3"], "a.csv:4"),
        (["2024-01-01,1", "2024-01-02,broken", "2024-01-03,3"], "flow"),
        (["2024-01-01,1", "2024-01-02,2", "2024-01-03,3"], "16"),
    ],
    ids=["ragged", "times out of order", "mixed types", "shorter than the window"],
)
def test_a_bad_table_is_told_with_its_place(
    seqcl: Seqcl, tmp_path: Path, rows: list[str], message: str
) -> None:
    csv(tmp_path / "a.csv", "time,flow", rows)
    told = pretrain(seqcl, "a.csv", "--set", "data.window=16", code=4)
    assert "a.csv" in told
    assert message in told


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_without_rows_is_told_on_one_core_too(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    path.write_bytes(gzip.compress(b"a,b\n") if packed else b"a,b\n")
    core = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-m", "seqcl", "inspect", str(path)],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "has no rows below its header" in done.stderr


def test_a_gap_in_time_is_told(seqcl: Seqcl, tmp_path: Path) -> None:
    days = [*range(1, 21), *range(51, 71)]
    rows = [f"{np.datetime64('2024-01-01') + day},{day % 5}" for day in days]
    csv(tmp_path / "a.csv", "time,flow", rows)
    assert "gap" in seqcl("inspect", "a.csv", "--set", "data.window=10").stderr


def test_a_pickle_is_never_loaded(seqcl: Seqcl, tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", X=np.array([{"a": 1}], dtype=object))
    assert "evil.npz" in pretrain(seqcl, "evil.npz", code=12)


def test_an_external_link_in_hdf5_is_refused(seqcl: Seqcl, tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["values"] = h5py.ExternalLink("/etc/hostname", "/x")
    assert "x.h5" in pretrain(seqcl, "x.h5", code=12)


def test_an_existing_run_is_not_overwritten(seqcl: Seqcl, waves: Path) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "run", *STEPS, *SMALL)
    assert "--resume" in pretrain(seqcl, waves, code=2)
    assert "finished" in pretrain(seqcl, waves, "--resume", code=2)


def test_a_loss_that_is_not_finite_stops_the_run(seqcl: Seqcl, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(16, 1, 32)).astype(np.float32)
    np.savez(tmp_path / "x.npz", X=values)
    told = pretrain(seqcl, "x.npz", "--set", "method.loss.temperature=1e-39", code=5)
    assert "not finite" in told
    assert "x.npz#" in told


def damaged(run: Path, how: str) -> str:
    """Damage a finished run; returns the file that must be named."""
    if how == "flipped bit":
        path = run / "model.safetensors"
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
        return "model.safetensors"
    if how == "truncated":
        path = run / "model.safetensors"
        path.write_bytes(path.read_bytes()[:100])
        return "model.safetensors"
    path = run / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    return "newer"


@pytest.mark.parametrize("how", ["flipped bit", "truncated", "newer version"])
def test_a_damaged_run_exits_with_12(seqcl: Seqcl, waves: Path, tmp_path: Path, how: str) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "run", *STEPS, *SMALL)
    named = damaged(tmp_path / "run", how)
    assert named in seqcl("embed", "run", "--data", waves, "--out", "e.npz", code=12).stderr


def test_another_number_of_channels_is_refused(seqcl: Seqcl, waves: Path, tmp_path: Path) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "run", *STEPS, *SMALL)
    np.savez(tmp_path / "three.npz", X=np.zeros((4, 3, 64), np.float32))
    assert "3" in seqcl("embed", "run", "--data", "three.npz", "--out", "e.npz", code=4).stderr


def test_a_read_only_place_is_told(seqcl: Seqcl, waves: Path) -> None:
    done = seqcl("pretrain", "series", "--data", waves, "--out", "/proc/run", *STEPS, code=2)
    assert "/proc/run" in done.stderr


LONG = ("--set", "training.steps=400", "--set", "training.checkpoint_every=5",
        "--set", "training.log_every=5", "--threads", "1")  # fmt: skip


def begin(waves: Path, out: str) -> subprocess.Popen[str]:
    """Start a run and wait for its second checkpoint."""
    command = [sys.executable, "-m", "seqcl", "pretrain", "series", "--data", str(waves),
               "--out", out, *LONG, *SMALL]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=waves.parent, env=env, stderr=subprocess.PIPE, text=True
    )
    kept = waves.parent / out / "checkpoints"
    while process.poll() is None and not (kept / "step-00000010").is_dir():
        time.sleep(0.01)
    assert process.poll() is None
    return process


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def resumed(seqcl: Seqcl, waves: Path, out: str, *more: str, code: int = 0) -> str:
    return seqcl("pretrain", "series", "--data", waves, "--out", out, "--resume", *LONG, *SMALL,
                 *more, code=code).stderr  # fmt: skip


def test_kill_9_and_resume_give_the_same_weights_bit_for_bit(
    seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    process = begin(waves, "killed")
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    (tmp_path / "killed" / "manifest.json.123.tmp").write_text("stray")
    resumed(seqcl, waves, "killed")
    assert not list((tmp_path / "killed").glob("*.tmp"))
    seqcl("pretrain", "series", "--data", waves, "--out", "whole", *LONG, *SMALL)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    lines = [json.loads(x) for x in (tmp_path / "killed/metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_checkpoint_and_a_changed_preset_is_refused(
    seqcl: Seqcl, waves: Path, sent: signal.Signals, code: int
) -> None:
    process = begin(waves, "run")
    process.send_signal(sent)
    _, told = process.communicate()
    assert process.returncode == code
    assert "--resume" in told
    assert "Traceback" not in told
    changed = resumed(seqcl, waves, "run", "--set", "training.lr=0.5", code=2)
    assert "training.lr was 0.001, now 0.5" in changed


def test_a_run_that_is_being_written_is_locked(seqcl: Seqcl, waves: Path) -> None:
    process = begin(waves, "run")
    try:
        assert str(process.pid) in resumed(seqcl, waves, "run", code=11)
    finally:
        process.kill()
        process.wait()


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    process = begin(waves, "run")
    process.kill()
    process.wait()
    last = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    victim = last / "method.safetensors"
    victim.write_bytes(victim.read_bytes()[:-8])
    assert last.name in resumed(seqcl, waves, "run")


def test_resume_without_a_run_starts_one_and_says_so(seqcl: Seqcl, waves: Path) -> None:
    done = seqcl("pretrain", "series", "--data", waves, "--out", "new", "--resume", *STEPS, *SMALL)
    assert "starting one" in done.stderr


def test_the_first_mistake_does_not_block_the_second_try(
    seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    pretrain(seqcl, waves, "--set", "data.columns=[nothing]", code=4)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    seqcl("pretrain", "series", "--data", waves, "--out", "run", *STEPS, *SMALL)
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_single_record_cannot_be_contrasted(seqcl: Seqcl, tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", X=np.arange(32.0)[None, None])
    assert "at least 2" in pretrain(seqcl, "one.npz", code=4)


def test_missing_labels_are_a_fault_of_the_data_whoever_finds_them(
    seqcl: Seqcl, tmp_path: Path
) -> None:
    X = np.random.default_rng(0).normal(size=(8, 1, 32)).astype(np.float32)
    supervised = ("--set", "method=supcon")
    np.savez(tmp_path / "none.npz", X=X)
    assert "method SupCon needs labels" in pretrain(seqcl, "none.npz", *supervised, code=4)
    np.savez(tmp_path / "some.npz", X=X, y=np.array(["a", "b"] * 3 + ["", ""]))
    told = pretrain(seqcl, "some.npz", *supervised, code=4)
    assert "2 of 8 records have no label, first some.npz#6" in told


def test_a_generator_that_cannot_work_is_a_fault_of_the_preset(seqcl: Seqcl, waves: Path) -> None:
    assert "needs two or more" in pretrain(seqcl, waves, "--set", "views.views=1", code=2)
    told = pretrain(seqcl, waves, "--set", "views={multi_crop: {local_fraction: 0.9}}", code=2)
    assert "internal" not in told


def test_output_that_cannot_be_written_is_told_before_the_work(seqcl: Seqcl, waves: Path) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "run", *STEPS, *SMALL)
    assert "no folder" in seqcl("embed", "run", "--data", waves, "--out", "no/e.npz", code=2).stderr
    done = seqcl("evaluate", "run", "--test", waves, "--report", "page.txt", code=2)
    assert "unknown suffix '.txt'" in done.stderr


def test_training_and_testing_on_the_same_records_is_told(seqcl: Seqcl, waves: Path) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "run", *STEPS, *SMALL)
    done = seqcl("evaluate", "run", "--train", waves, "--test", waves, "--task", "knn",
                 "--no-controls")  # fmt: skip
    assert "memorised" in done.stderr


def test_a_task_that_cannot_run_leaves_the_others(seqcl: Seqcl, waves: Path) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "run", *STEPS, *SMALL)
    done = seqcl("evaluate", "run", "--test", waves, "--no-controls")
    assert "ARI" in done.stdout
    assert "–" in done.stdout
    seqcl("evaluate", "run", "--test", waves, "--task", "linear", "--no-controls", code=4)


def test_skipped_records_are_listed_by_every_command(
    seqcl: Seqcl, waves: Path, tmp_path: Path
) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "run", *STEPS, *SMALL)
    X = np.load(waves)["X"]
    X[3] = np.nan
    np.savez(tmp_path / "gap.npz", X=X)
    done = seqcl("embed", "run", "--data", "gap.npz", "--out", "e.npz", code=3)
    assert "skipped: " in done.stderr
    assert "gap.npz#3" in done.stderr


def test_another_sampling_rate_is_refused(seqcl: Seqcl, tmp_path: Path) -> None:
    for name, step in (("fast.csv", 1), ("slow.csv", 2)):
        rows = [f"{np.datetime64('2024-01-01T00:00:00') + i * step},{i % 7}" for i in range(128)]
        csv(tmp_path / name, "time,flow", rows)
    seqcl("pretrain", "series", "--data", "fast.csv", "--out", "run", *STEPS, *SMALL,
          "--set", "data.window=16")  # fmt: skip
    told = seqcl("embed", "run", "--data", "slow.csv", "--out", "e.npz", code=4).stderr
    assert "0.5 Hz" in told


def test_another_number_of_processes_than_was_asked_for_is_refused(
    seqcl: Seqcl, waves: Path
) -> None:
    assert "--world-size 2: 1 process runs" in pretrain(seqcl, waves, "--world-size", "2", code=2)
    assert not (waves.parent / "run").exists()


@pytest.mark.parametrize(
    "command", [("predict", "run", "--data", "a", "--out", "e.csv"), ("doctor",)]
)
def test_commands_of_one_process_are_refused_in_several_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(sys, "argv", ["seqcl", *command])
    assert _run() == 2
    told = f"seqcl, rank 1: {command[0]} works in one process and WORLD_SIZE is 2"
    assert told in capsys.readouterr().err


def test_skipped_files_are_no_failure_of_one_of_several_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[int] = []
    monkeypatch.setattr("seqcl.cli.main._run", lambda: 3)
    monkeypatch.setattr("os._exit", left.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match="0"):
        main()
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(SystemExit, match="3"):
        main()
    assert left == [0]


def test_a_run_that_ran_out_of_time_can_be_resumed(seqcl: Seqcl, waves: Path) -> None:
    more = ("--set", "training.steps=50", *SMALL)
    seqcl("pretrain", "series", "--data", waves, "--out", "run", "--max-minutes", "0.0001", *more)
    seqcl("embed", "run", "--data", waves, "--out", "e.npz")
    seqcl("pretrain", "series", "--data", waves, "--out", "run", "--resume", *more)
    assert "finished" in pretrain(seqcl, waves, "--resume", code=2)


def test_more_labels_than_there_are_is_refused(seqcl: Seqcl, waves: Path) -> None:
    seqcl("pretrain", "series", "--data", waves, "--out", "run", *STEPS, *SMALL)
    done = seqcl("evaluate", "run", "--train", waves, "--test", waves, "--task", "linear",
                 "--labels", "13-per-class", "--no-controls", code=4)  # fmt: skip
    assert "the rarest class has 12 labelled" in done.stderr


def test_the_same_data_twice_is_refused(seqcl: Seqcl, waves: Path) -> None:
    assert "given twice" in pretrain(seqcl, waves, "--data", str(waves), code=4)
