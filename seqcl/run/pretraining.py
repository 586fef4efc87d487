"""Pretrain: from a preset and data to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from seqcl.config.preset import Preset, load_preset
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.source import Skipped
from seqcl.distributed import from_first, rank, world_size
from seqcl.errors import UsageError
from seqcl.files import atomic_write, locked, sha256, sweep
from seqcl.run.build import pick_device, threads
from seqcl.run.facts import data_facts, train_facts, view_files, write_skipped
from seqcl.run.fitting import Parts, assemble, fit
from seqcl.run.folder import save_initial, save_model, write_manifest
from seqcl.run.launching import launched, refuse_another_start, refuse_many_processes
from seqcl.run.resuming import open_folder, refuse_changes
from seqcl.training.estimate import Estimate, estimate
from seqcl.training.loop import TrainResult
from seqcl.training.sinks import JsonlSink, Sink, TensorBoardSink
from seqcl.weights import take_from_first

__all__ = ["DryRun", "PretrainResult", "Settings", "dry_run", "pretrain"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is made of beside its preset."""

    sources: Sequence[str]
    validation: Sequence[str] = ()
    overrides: Sequence[str] = ()
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    init: Path | None = None
    """A run whose encoder is started from."""
    tensorboard: bool = False
    """Whether TensorBoard events are written too (extra `track`)."""
    world_size: int | None = None
    """Processes that must run; None = those that torchrun started, or one."""
    command: str = ""


@dataclass(frozen=True)
class PretrainResult:
    """What happened: where the run is, how training went, what was passed over."""

    folder: Path
    train: TrainResult | None
    """None where `method: none` left nothing to train."""
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    rank: int = 0
    """Which process this is; rank 0 wrote the run and should tell of it."""
    is_detector: bool = False

    @property
    def next(self) -> str:
        """The command to go on with."""
        if self.is_detector:
            return f"seqcl detect {quote(str(self.folder))} --data SRC --out scores.csv"
        return f"seqcl evaluate {quote(str(self.folder))} --train SRC --test SRC"


@dataclass(frozen=True)
class DryRun:
    """What a run would do: the resolved preset, the data, and one step measured."""

    preset: str
    records: int
    channels: tuple[str, ...]
    longest: str
    """Steps of the longest record, or height and width of the images."""
    notes: tuple[str, ...]
    estimate: Estimate | None


def pretrain(
    preset: str | Preset,
    settings: Settings,
    out: Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    sinks: Sequence[Sink] = (),
) -> PretrainResult:
    """Train the preset's encoder and write the run folder `out`.

    Started by torchrun, all processes call it and rank 0 alone touches `out`.

    Raises UsageError where `out` exists and `resume` is not asked for, PresetError where a
    resumed run's preset, data or seed differ, LockedError where another process writes `out`.
    """
    if isinstance(preset, str):
        preset = load_preset(preset, settings.overrides)
    if preset.detector is not None:
        from seqcl.run.detector_run import pretrain_detector

        refuse_many_processes("a detector", settings.world_size)
        return pretrain_detector(
            preset, settings, out, resume=resume, max_minutes=max_minutes, sinks=sinks
        )
    with launched(settings.world_size), threads(settings.threads), ExitStack() as held:
        resume, notes = from_first(lambda: _open(out, resume, held))
        parts = _assemble(preset, settings)
        notes += parts.notes()
        if parts.method is not None and world_size() > 1 and not parts.method.gathers:
            notes += (_apart(parts),)
        facts = {**_facts(parts.dataset, settings, notes), "view_files": view_files(preset)}
        refuse_another_start(
            {"seed": settings.seed, "preset": preset.yaml(), "data": parts.dataset.fingerprint}
        )
        take_from_first(parts.model)
        from_first(lambda: _begin(out, preset, parts, facts, resume))
        everything: list[Sink] = []
        if rank() == 0:
            everything = _sinks(out, settings, sinks)
            for text in notes:
                for sink in sinks:
                    sink.on_note(text)
        result = fit(parts, folder=out, resume=resume, max_minutes=max_minutes, sinks=everything)
        final = {**facts, "train": train_facts(result)}
        from_first(lambda: save_model(out, parts.model, final))
        return PretrainResult(out, result, parts.skipped(), notes, rank())


def dry_run(preset: str | Preset, settings: Settings) -> DryRun:
    """Build everything, take one timed step, write nothing."""
    if isinstance(preset, str):
        preset = load_preset(preset, settings.overrides)
    if preset.detector is not None:
        raise UsageError("--dry-run: a detector takes no steps that could be timed; leave it out")
    refuse_many_processes("--dry-run", settings.world_size)
    with threads(settings.threads):
        parts = _assemble(preset, settings)
        measured = None
        if parts.method is not None:
            measured = estimate(
                parts.method, parts.views, parts.model.frontend, parts.loader(), preset.training,
                seed=settings.seed, device=parts.device,
            )  # fmt: skip
    data = parts.dataset
    return DryRun(preset.yaml(), len(data), data.channels, _extent(data), parts.notes(), measured)


def _open(out: Path, resume: bool, held: ExitStack) -> tuple[bool, tuple[str, ...]]:
    """Open and lock the run folder until `held` is closed."""
    opened = open_folder(out, resume)
    held.enter_context(locked(out))
    sweep(out)
    return opened


def _begin(out: Path, preset: Preset, parts: Parts, facts: dict[str, Any], resume: bool) -> None:
    """Write what a run has from its start, or find it as it was."""
    if resume:
        refuse_changes(out, preset, facts)
    else:
        atomic_write(out / "preset.yaml", preset.yaml())
        save_initial(out, parts.model)
        write_manifest(out, facts)
    write_skipped(out, parts.skipped())


def _sinks(out: Path, settings: Settings, others: Sequence[Sink]) -> list[Sink]:
    made: list[Sink] = [JsonlSink(out / "metrics.jsonl"), *others]
    if settings.tensorboard:
        made.append(TensorBoardSink(out / "tensorboard"))
    return made


def _apart(parts: Parts) -> str:
    size = parts.loader().own_size
    return (
        f"{type(parts.method).__name__} contrasts the {size} records of each of {world_size()} "
        "processes apart; the result is not that of one process"
    )


def _assemble(preset: Preset, settings: Settings) -> Parts:
    extra = preset.views.build().extra_steps
    dataset = open_dataset(settings.sources, preset.data, extra_steps=extra)
    validation = None
    if settings.validation:
        validation = open_dataset(
            settings.validation, preset.data, extra_steps=extra, channels=dataset.channels
        )
    device = pick_device(settings.device)
    if device.index is not None:
        torch.cuda.set_device(device)
    return assemble(
        preset, dataset, seed=settings.seed, device=device,
        validation=validation, init=settings.init,
    )  # fmt: skip


def _facts(data: Dataset, settings: Settings, notes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "seed": settings.seed,
        "world_size": world_size(),
        "init": None if settings.init is None else sha256(settings.init / "model.safetensors"),
        "command": settings.command,
        "channels": list(data.channels),
        "rate_hz": data.rate_hz,
        "label_names": [str(name) for name in data.classes],
        "data": data_facts(data, settings.sources),
        "notes": list(notes),
    }


def _extent(data: Dataset) -> str:
    if data.size is not None:
        return "{} x {} pixels".format(*data.size)
    return f"{data.max_length:,} steps"
