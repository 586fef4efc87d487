"""Launched by torchrun or alone: the process group, and what must agree between processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

from seqcl.distributed import from_first, largest, world_size
from seqcl.errors import TrainingError, UsageError

__all__ = ["launched", "refuse_another_start", "refuse_many_processes"]

_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")
_STARTED = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""Where a launcher that is not torchrun says how many processes it started."""


@contextmanager
def launched(
    expected: int | None = None, *, hint: str = "continue with --resume"
) -> Iterator[None]:
    """Join the processes that the environment names, as torchrun sets it, inside the block.

    Alone there is nothing to join; a process group that the caller has made is used and left.
    Host tensors travel by gloo, which such a group needs too, those of GPUs by nccl.

    Raises:
        UsageError: `expected` processes were asked for and another number runs; a launcher
            started several that know nothing of each other.
        TrainingError: the processes do not meet, or another one ended: `hint` says what then.
    """
    own = not distributed.is_initialized()
    world = _promised() if own else world_size()
    if expected is not None and expected != world:
        raise UsageError(
            f"--world-size {expected}: {world} process{'es run' if world > 1 else ' runs'}; start "
            f"them by torchrun --nproc-per-node {expected} -m seqcl …"
        )
    if own:
        _refuse_strangers(world, expected)
    if world == 1 or not own:
        yield
        return
    _refuse_missing()
    _meet()
    try:
        yield
        largest([0])  # no one leaves while another still needs it
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise TrainingError(
            f"another of the {world} processes ended, its own message says why; {hint}"
        ) from error
    # After an error the end of this process is what tells the others: to close in good order
    # would be to wait for them.
    distributed.destroy_process_group()


def refuse_many_processes(what: str, expected: int | None = None) -> None:
    """Raise UsageError where several processes would each do the whole of `what`.

    Or where several are `expected`.
    """
    if _promised() > 1:
        raise UsageError(
            f"{what} works in one process and {_promised()} run; start it without torchrun"
        )
    if expected not in (None, 1):
        raise UsageError(f"--world-size {expected}: {what} works in one process; leave it out")


def refuse_another_start(facts: Mapping[str, Any]) -> None:
    """Raise UsageError where this process was started with other facts than rank 0."""
    theirs = from_first(lambda: dict(facts))
    changes = [name for name, value in facts.items() if theirs[name] != value]
    if changes:
        raise UsageError(
            f"{' and '.join(changes)} differ from rank 0's; start every process "
            "with the same command, on the same data"
        )


def _promised() -> int:
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isdecimal() or text == "0":
        raise UsageError(f"WORLD_SIZE is {text!r}; it is the number of processes, at least 1")
    return int(text)


def _refuse_strangers(world: int, expected: int | None) -> None:
    """Refuse to be one of several processes that each believe to be the only one."""
    groups = int(os.environ.get("GROUP_WORLD_SIZE", world))  # torchruns that know each other
    for name in _STARTED:
        started = os.environ.get(name, "1")
        if started != "1" and groups == 1 and expected is None:
            raise UsageError(
                f"{name} is {started}, and each of these processes would work alone; start "
                "one torchrun per machine with --nnodes and --rdzv-endpoint, or say --world-size "
                f"{world} if each is a run of its own"
            )


def _meet() -> None:
    try:
        gpus = torch.cuda.is_available()
        distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = str(error).partition("\n")[0]
        raise TrainingError(
            f"the processes do not meet at {place} ({reason}); see that each machine reaches it"
        ) from error


def _refuse_missing() -> None:
    missing = [name for name in _NEEDED if name not in os.environ]
    if missing:
        raise UsageError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']} and {', '.join(missing)} not set; start "
            "the processes by torchrun, or unset WORLD_SIZE for one"
        )


def _is_lost(error: RuntimeError) -> bool:
    """Return whether a collective failed, and not a computation."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)
