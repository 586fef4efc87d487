"""What the environment says of other processes, and what is refused."""

from __future__ import annotations

import pytest
import torch

from seqcl.data.collate import Collate
from seqcl.data.dataset import dataset_from_arrays
from seqcl.data.loader import Loader
from seqcl.data.samplers import ShuffleSampler
from seqcl.data.scaler import Scaler
from seqcl.errors import UsageError
from seqcl.run import build, launching
from seqcl.run.launching import launched, refuse_another_start, refuse_many_processes

Environment = dict[str, str]


def refused(expected: int | None) -> str:
    with pytest.raises(UsageError) as caught, launched(expected):
        raise AssertionError
    return str(caught.value)


@pytest.mark.parametrize(
    ("environment", "expected", "told"),
    [
        ({}, 2, "--world-size 2: 1 process runs; start them by torchrun --nproc-per-node 2"),
        ({"WORLD_SIZE": "3"}, 2, "--world-size 2: 3 processes run"),
        ({"WORLD_SIZE": "two"}, None, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "0"}, None, "WORLD_SIZE is '0'"),
        ({"WORLD_SIZE": "2"}, None, "WORLD_SIZE is 2 and RANK, MASTER_ADDR, MASTER_PORT not set"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, None, "SLURM_STEP_NUM_TASKS is 4, and each of these"),
        (
            {"PMI_SIZE": "2", "WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "1"},
            None,
            "one torchrun per machine with --nnodes",
        ),
    ],
)
def test_a_number_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: Environment, expected: int | None, told: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert told in refused(expected)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({}, 1),
        ({"WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "1"}, None),
        ({"SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"SLURM_STEP_NUM_TASKS": "4"}, 1),
    ],
)
def test_one_process_needs_no_group(
    monkeypatch: pytest.MonkeyPatch, environment: Environment, expected: int | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with launched(expected):
        assert not torch.distributed.is_initialized()


def test_what_one_process_does_is_refused_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--world-size 2: a fit works in one process"):
        refuse_many_processes("a fit", 2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="--dry-run works in one process and 2 run"):
        refuse_many_processes("--dry-run")


def test_a_process_that_was_started_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"seed": 0, "preset": "a", "data": "b"}
    monkeypatch.setattr(launching, "from_first", lambda make: facts)
    refuse_another_start(facts)
    with pytest.raises(UsageError, match="seed and data differ from rank 0's; start every"):
        refuse_another_start({"seed": 1, "preset": "a", "data": "c"})


@pytest.mark.parametrize(("batch_size", "parts"), [(8, 1), (9, 2), (64, 1)])
def test_a_batch_that_cannot_be_shared_is_refused_with_both_numbers(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, parts: int
) -> None:
    monkeypatch.setattr("seqcl.data.loader.world_size", lambda: 3)
    dataset = dataset_from_arrays(torch.randn(20, 2, 8).numpy())
    with pytest.raises(
        UsageError, match=f"3 processes cannot share a batch of {min(batch_size, 20)}"
    ):
        Loader(
            dataset, Collate(Scaler(2, mode="none")), ShuffleSampler(dataset), batch_size,
            seed=0, parts=parts,
        )  # fmt: skip


def test_each_process_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(build, "world_size", lambda: 3)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert build.pick_device("auto") == torch.device("cuda", 1)
    assert build.pick_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="process 2 of this machine has no GPU .* there are 2"):
        build.pick_device("cuda")
