"""`torchrun -m seqcl pretrain`: the run of several processes is that of one."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run_command
from forked import in_processes
from safetensors.torch import load_file
from torch import Tensor

from seqcl.cli.main import cli
from seqcl.run.launching import launched

RECORDS, BATCH = 48, 12
TINY = ("encoder.tcn.width=6", "encoder.tcn.depth=2", f"training.batch_size={BATCH}")
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "simclr": ("series", ()),
    "supcon": ("series-supcon", ("training.sampler=shuffle",)),
    "moco": ("series-moco", ("method.queue=30",)),
    "swav": ("series-swav", ("method.prototypes=4", "method.queue=24", "method.frozen=0.3")),
    "barlow_twins": ("series-barlow", ()),
    "byol": ("series-byol", ()),
    "accumulate": ("series", ("training.accumulate=2",)),
    "chunk": ("series", ("training.chunk=2",)),
    "spectral": ("series", ("embedding=spectral",)),
}


def torchrun(world: int, *arguments: str) -> list[str]:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world))
    return [sys.executable, *launcher, *arguments]


def in_ranks(world: int, commands: list[list[str]], *, double: bool = False) -> None:
    """Run commands in one process group; a fork of what torchrun starts, which costs an import."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    in_processes(world, work, world, port, commands, double)


def work(number: int, world: int, port: int, commands: list[list[str]], double: bool) -> None:
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": world,
             "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}  # fmt: skip
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    with launched():
        for arguments in commands:
            assert cli.main(arguments, standalone_mode=False) == 0


def pretrain(out: Path, data: Path, preset: str, options: tuple[str, ...], *more: str) -> list[str]:
    sets = [part for option in options for part in ("--set", option)]
    plain = ("--data", str(data), "--out", str(out), "--device", "cpu", "--threads", "1")
    return ["pretrain", preset, *plain, *sets, *more]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write records of unequal lengths."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(RECORDS, 2, 64)).cumsum(2).astype(np.float32)
    for record, length in zip(values, rng.integers(40, 65, RECORDS), strict=True):
        record[:, length:] = np.nan
    path = tmp_path_factory.mktemp("data") / "series.npz"
    np.savez(path, X=values, y=np.arange(RECORDS) % 3)
    return path


Models = dict[int, dict[str, dict[str, Tensor]]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, series: Path) -> Models:
    """Train every case in one, two and three processes: world size, case, weights."""
    found: Models = {}
    for world in (1, 2, 3):
        folder = tmp_path_factory.mktemp(f"world{world}")
        commands = [
            pretrain(folder / name, series, preset, ("encoder=tcn", *TINY, *own),
                     "--set", "training.steps=4")
            for name, (preset, own) in CASES.items()
        ]  # fmt: skip
        in_ranks(world, commands, double=True)
        found[world] = {name: load_file(folder / name / "model.safetensors") for name in CASES}
    return found


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_several_processes_train_what_one_does(name: str, world: int, models: Models) -> None:
    expected, found = models[1][name], models[world][name]
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        if key.startswith("embedding"):
            continue
        assert value.dtype != torch.float32, key
        difference = (found[key] - value).double().norm()
        assert difference <= 1e-10 * value.double().norm(), key


@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_solve_the_closed_form_of_one(world: int, models: Models) -> None:
    expected, found = (models[each]["spectral"]["embedding.weight"] for each in (1, world))
    assert expected.shape[1] > 1
    # Directions have no sign, and vectors are held in float32.
    difference = (found @ found.T - expected @ expected.T).norm()
    assert difference <= 1e-4 * (expected @ expected.T).norm()


@pytest.mark.parametrize("level", ["instance", "step"])
def test_several_processes_embed_what_one_does(
    level: str, tmp_path: Path, series: Path, finished: tuple[Path, str]
) -> None:
    found = []
    for world in (1, 2, 3):
        out = tmp_path / f"{world}.npz"
        plain = ("--data", str(series), "--out", str(out), "--device", "cpu", "--threads", "1")
        in_ranks(world, [["embed", str(finished[0]), *plain, "--level", level]])
        found.append(np.load(out))
    assert found[0]["ids"].size == RECORDS
    for other in found[1:]:
        assert sorted(other) == sorted(found[0])
        assert all(np.array_equal(found[0][name], other[name]) for name in other)


STEPS = 150
SMALL = ("encoder.widths=[8,8]", f"training.batch_size={BATCH}", f"training.steps={STEPS}",
         "training.log_every=1", "training.checkpoint_every=4", "training.workers=1",
         "training.diagnose_every=0")  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, series: Path) -> tuple[Path, str]:
    """Train to the end in two processes; returns the run folder and what was printed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    command = pretrain(out, series, "series", SMALL, "--world-size", "2")
    done = subprocess.run(
        torchrun(2, "-m", "seqcl", *command), check=True, stderr=subprocess.PIPE, text=True
    )
    return out, done.stderr


def test_rank_0_alone_tells_and_writes(finished: tuple[Path, str]) -> None:
    out, printed = finished
    assert printed.count(f"step {STEPS}/{STEPS}") == 1
    assert printed.count("next: seqcl evaluate") == 1
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").open()]
    assert steps == list(range(1, STEPS + 1))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["world_size"] == 2
    assert manifest["train"]["steps"] == STEPS
    assert not list(out.rglob("*.tmp"))


def worker(launcher: int, rank: int) -> int:
    """Return the process that torchrun started as `rank`; loader workers are its children."""
    found = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    environments = {int(pid): Path(f"/proc/{pid}/environ").read_bytes() for pid in found}
    (pid,) = (pid for pid, text in environments.items() if f"\0RANK={rank}\0".encode() in text)
    return pid


class Begun:
    """A training of two processes that has taken some steps."""

    def __init__(self, out: Path, series: Path) -> None:
        command = torchrun(2, "-m", "seqcl", *pretrain(out, series, "series", SMALL))
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.printed = ""
        while f"step 6/{STEPS}" not in self.printed:
            line = self.process.stderr.readline()
            assert line, self.printed
            self.printed += line

    def end(self) -> str:
        """Return what was printed until the end; a hang fails."""
        self.printed += self.process.communicate(timeout=60)[1]
        assert self.process.returncode != 0
        return self.printed


@pytest.fixture
def begun(tmp_path: Path, series: Path) -> Iterator[Begun]:
    made = Begun(tmp_path / "run", series)
    yield made
    made.process.kill()


def test_a_signal_to_one_stops_all_and_resuming_gives_the_same_bits(
    begun: Begun, tmp_path: Path, series: Path, finished: tuple[Path, str]
) -> None:
    os.killpg(worker(begun.process.pid, 1), signal.SIGTERM)  # with its loader worker, as torchrun
    printed = begun.end()
    stopped = re.findall(r"interrupted by SIGTERM after step (\d+); the last good", printed)
    assert len(set(stopped)) == 1, printed
    out = tmp_path / "run"
    newest = max(path.name for path in (out / "checkpoints").iterdir())
    assert newest == f"step-{int(stopped[0]):08d}"
    command = pretrain(out, series, "series", SMALL, "--resume")
    in_ranks(2, [command])
    one, other = (load_file(path / "model.safetensors") for path in (out, finished[0]))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_dead_process_ends_the_others_and_another_number_may_resume(
    begun: Begun, tmp_path: Path, series: Path
) -> None:
    os.kill(worker(begun.process.pid, 1), signal.SIGKILL)
    printed = begun.end()
    assert "seqcl: another of the 2 processes ended" in printed or "SIGTERM" in printed
    out = tmp_path / "run"
    command = pretrain(out, series, "series", SMALL, "--resume")
    done = run_command(tuple(command), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resumed after step" in done.stderr
    assert "world_size was 2 and is now 1" in done.stderr
    assert json.loads((out / "manifest.json").read_text())["world_size"] == 1
