"""From a training in progress to a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from seqcl.distributed import from_first, world_size
from seqcl.errors import UsageError
from seqcl.methods.base import Method
from seqcl.training.checkpoint import Checkpoint, Checkpoints
from seqcl.training.optim import load_optimizer_tensors, optimizer_tensors
from seqcl.weights import restore_state, state_tensors

__all__ = ["capture", "restore", "surroundings"]


def capture(step: int, method: Method, optimizer: Optimizer, run: Mapping[str, Any]) -> Checkpoint:
    """Return what is to be saved after `step` steps; `run` must agree on resuming."""
    facts = {"run": dict(run), "surroundings": surroundings(method)}
    return Checkpoint(step, state_tensors(method), optimizer_tensors(optimizer, method), facts)


def restore(
    checkpoints: Checkpoints, method: Method, optimizer: Optimizer, run: Mapping[str, Any]
) -> tuple[int, list[str]]:
    """Put the newest whole checkpoint into `method` and `optimizer`.

    Returns the steps done (0 where there is no checkpoint) and remarks for people. Raises
    UsageError where the checkpoint is of another run, ArtefactError where none is usable. Of
    several processes rank 0 alone reads it: the others may be on machines that cannot.
    """
    checkpoint, notes = from_first(checkpoints.load)
    if checkpoint is None:
        return 0, [f"{checkpoints.folder}: no checkpoint to resume; starting at step 0"]
    where = checkpoints.folder / f"step-{checkpoint.step:08d}"
    _refuse_another_run(where, checkpoint.facts["run"], run)
    restore_state(method, checkpoint.method, where)
    load_optimizer_tensors(optimizer, method, checkpoint.optimizer)
    notes.append(f"resumed after step {checkpoint.step}, from {where}")
    then, now = checkpoint.facts["surroundings"], surroundings(method)
    notes += [
        f"{name} was {then[name]!r} and is now {now[name]!r}; the result will not be the "
        f"same bit for bit"
        for name in now
        if name in then and then[name] != now[name]
    ]
    return checkpoint.step, notes


def surroundings(method: Method) -> dict[str, str | int]:
    """Return what changes the last bits of a result."""
    device = next((weight.device.type for weight in method.parameters()), "cpu")
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device,
        "world_size": world_size(),
    }


def _refuse_another_run(where: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changes = [
        f"{name} was {then.get(name)}, now {now[name]}"
        for name in now
        if then.get(name) != now[name]
    ]
    if changes:
        raise UsageError(f"{where}: of another run: {', '.join(changes)}; use another --out")
