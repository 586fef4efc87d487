"""The training loop: views, loss, gradient, step; it never asks which method runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Literal

import torch

from seqcl.batch import Batch
from seqcl.data.loader import Loader
from seqcl.distributed import largest, rank, world_size
from seqcl.errors import PresetError
from seqcl.methods.base import Method, Progress
from seqcl.rng import Rng
from seqcl.training.averaging import averaged
from seqcl.training.checkpoint import Checkpoints
from seqcl.training.chunks import Chunks
from seqcl.training.compiling import compiled_encoders
from seqcl.training.diagnostics import Diagnostics, Movement
from seqcl.training.guard import Guard
from seqcl.training.interrupts import Interrupts, interruptible
from seqcl.training.journal import Journal
from seqcl.training.optim import build_optimizer, learning_rate, set_learning_rate, skip_update
from seqcl.training.options import TrainingOptions
from seqcl.training.precision import mixed_precision
from seqcl.training.probe import Probe
from seqcl.training.seeding import own_random_state
from seqcl.training.sinks import LogRecord, Sink
from seqcl.training.step import clip_gradient
from seqcl.training.stopwatch import Stopwatch
from seqcl.views.base import Frontend, ViewGenerator
from seqcl.weights import take_from_first

__all__ = ["Stopped", "TrainResult", "train"]

Stopped = Literal["done", "max_minutes", "interrupted"]

_VIEWS, _NOISE, _WATCHED = 10, 11, 12
"""Streams of the seed: views, dropout and sampled anchors, the views of the diagnostics."""


@dataclass(frozen=True)
class TrainResult:
    """How a training went."""

    steps: int
    """Optimizer steps done, those before a resumption included."""
    seconds: float
    """Wall time of this process's part."""
    stopped: Stopped
    """`done`, or `max_minutes` where time ran out first."""
    weights_moved: float
    """Norm of the change of the encoders' weights over the norm of their initial values."""
    metrics: LogRecord = field(default_factory=dict)
    """The last record of the log."""


def train(
    method: Method,
    make_views: ViewGenerator,
    frontend: Frontend,
    loader: Loader,
    options: TrainingOptions,
    *,
    seed: int,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    sinks: Sequence[Sink] = (),
    resume: bool = False,
    max_minutes: float | None = None,
    watched: Batch | None = None,
    probed: Batch | None = None,
) -> TrainResult:
    """Train `method` in place.

    The result is a function of the arguments: a run that was killed and resumed gives the same
    weights bit for bit, on the same device type, threads and versions of torch (on CUDA as far
    as its kernels are deterministic). Torch's global random state is left as it was.

    Of several processes each takes its rows of every batch; gradients and losses are averaged,
    rank 0 alone writes and tells, and all stop at the same step.

    Args:
        method: its encoders, heads and state are trained.
        make_views, frontend: make the views of a batch.
        loader: batch k is a function of (seed, k).
        options: the ``training:`` section.
        seed: of views, dropout and everything drawn.
        folder: where ``checkpoints/`` is written; None = no checkpoints.
        device: where to train.
        sinks: take the log.
        resume: go on from the newest whole checkpoint in `folder`; from the start, with a note,
            where there is none. `method` must be built as it was then.
        max_minutes: stop after this time, with a checkpoint.
        watched: records for the diagnostics, unaugmented; None = no diagnostics.
        probed: labelled records for their probe, see `Probe`; None = no probe.

    Raises:
        TrainingError: a loss or gradient that is not finite, a disk that is full, a device whose
            memory does not hold a single record.
        PresetError: batches below what the method needs.
        UsageError, ArtefactError: a checkpoint of another run; none that is whole.
        Interrupted: SIGINT or SIGTERM came; the checkpoint is written. Without `folder` there is
            nothing to go on from: signals do what they do elsewhere.
    """
    device = torch.device(device)
    if rank():
        sinks, watched, probed = (), None, None
    _check_batch(method, loader, options)
    method.to(device).train()
    take_from_first(method)
    frontend.to(device)
    total = options.total_steps(loader.steps_per_epoch)
    optimizer = build_optimizer(method, options, method.rate_factors())
    movement, guard, clock = Movement(method.encoders), Guard(device), Stopwatch()
    journal = Journal(
        method=method, optimizer=optimizer, loader=loader, options=options, total_steps=total,
        seed=seed, guard=guard, clock=clock, sinks=sinks,
        checkpoints=None if folder is None else Checkpoints(folder / "checkpoints"),
        diagnostics=_diagnostics(
            watched if options.diagnose_every else None, probed, make_views, frontend,
            Rng(seed, _WATCHED, device=device),
        ),
    )  # fmt: skip
    stopped: Stopped | None = None
    with (
        own_random_state(device),
        mixed_precision(method, device, options.precision),
        compiled_encoders(method, options.compile),
        interruptible(folder is not None) as interrupts,
        closing(journal),
    ):
        step, chunks = journal.begin(resume), Chunks(options, journal.note)
        batches = loader.batches(step)
        while step < total and not method.finished and stopped is None:
            on_host = next(batches)
            batch = on_host.to(device)
            clock.lap("data")
            with torch.no_grad():
                views = make_views(batch, frontend, _own_rng(seed, step, device, options))
            clock.lap("views")
            optimizer.zero_grad()
            key = (seed, _NOISE, step, rank())
            loss = averaged(method, chunks.backward(method, views, key, step))
            method.after_backward(Progress(step, total))
            norm = clip_gradient(method, options.clip_norm)
            skip_update(optimizer, guard.watch(step, on_host, loss, norm))
            set_learning_rate(optimizer, learning_rate(step, total, options))
            optimizer.step()
            step += 1
            method.after_step(Progress(step, total), loss)
            clock.lap("step")
            done = step == total or method.finished
            stopped = _why_stop(done, interrupts, clock.elapsed, max_minutes)
            journal.after(step, last=stopped is not None)
        if stopped == "interrupted":
            raise interrupts.error(step, journal.saved())
    return TrainResult(step, clock.elapsed, stopped or "done", movement.share(), journal.last)


def _own_rng(seed: int, step: int, device: torch.device, options: TrainingOptions) -> Rng:
    """Return what the views of a step are drawn from: this process's rows of all that is drawn."""
    return Rng(
        seed, _VIEWS, step, device=device,
        rank=rank(), world=world_size(), parts=options.accumulate,
    )  # fmt: skip


def _why_stop(
    done: bool, interrupts: Interrupts, seconds: float, max_minutes: float | None
) -> Stopped | None:
    """Return why all processes stop after this step: what one of them has met counts for all."""
    if done:
        return "done"
    late = max_minutes is not None and seconds >= 60 * max_minutes
    number, is_late = largest([interrupts.received or 0, late])
    if number:
        interrupts.received = Signals(number)
        return "interrupted"
    return "max_minutes" if is_late else None


def _check_batch(method: Method, loader: Loader, options: TrainingOptions) -> None:
    """Refuse batches that the method cannot learn from, before the first step."""
    smallest = loader.own_size // options.accumulate
    if smallest < method.min_batch:
        shared = f" on {world_size()} processes" if world_size() > 1 else ""
        raise PresetError(
            f"training: batch_size={options.batch_size} and accumulate={options.accumulate} with "
            f"{len(loader.dataset)} records{shared} give batches of {smallest}, and "
            f"{method.name} needs {method.min_batch}; use more records or a larger batch"
        )


def _diagnostics(
    watched: Batch | None,
    probed: Batch | None,
    make_views: ViewGenerator,
    frontend: Frontend,
    rng: Rng,
) -> Diagnostics | None:
    if watched is None or len(watched) < 2:
        return None
    with torch.no_grad():
        probe = None if probed is None else Probe(frontend(probed.to(rng.device)))
        return Diagnostics(make_views(watched.to(rng.device), frontend, rng)[:2], probe)
