"""Pretrain: from a preset and data to a run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqcl.config.preset import Preset, load_preset
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.source import Skipped
from seqcl.files import atomic_write, locked, sha256, sweep
from seqcl.run.build import pick_device, refuse_many_processes, threads
from seqcl.run.fitting import Parts, assemble, fit
from seqcl.run.folder import save_initial, save_model, write_manifest
from seqcl.run.resuming import open_folder, refuse_changes
from seqcl.training.estimate import Estimate, estimate
from seqcl.training.loop import TrainResult
from seqcl.training.sinks import JsonlSink, Sink, TensorBoardSink

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
    command: str = ""


@dataclass(frozen=True)
class PretrainResult:
    """What happened: where the run is, how training went, what was passed over."""

    folder: Path
    train: TrainResult | None
    """None where `method: none` left nothing to train."""
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


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

    Raises UsageError where `out` exists and `resume` is not asked for, PresetError where a
    resumed run's preset, data or seed differ, LockedError where another process writes `out`.
    """
    if isinstance(preset, str):
        preset = load_preset(preset, settings.overrides)
    refuse_many_processes()
    resume, notes = open_folder(out, resume)
    with locked(out), threads(settings.threads):
        sweep(out)
        parts = _assemble(preset, settings)
        notes += parts.notes()
        facts = _facts(parts.dataset, settings, notes)
        if resume:
            refuse_changes(out, preset, facts)
        else:
            atomic_write(out / "preset.yaml", preset.yaml())
            save_initial(out, parts.model)
            write_manifest(out, facts)
        _write_skipped(out, parts)
        for text in notes:
            for sink in sinks:
                sink.on_note(text)
        everything: list[Sink] = [JsonlSink(out / "metrics.jsonl"), *sinks]
        if settings.tensorboard:
            everything.append(TensorBoardSink(out / "tensorboard"))
        result = fit(parts, folder=out, resume=resume, max_minutes=max_minutes, sinks=everything)
        save_model(out, parts.model, {**facts, "train": _train_facts(result)})
    return PretrainResult(out, result, parts.skipped(), notes)


def dry_run(preset: str | Preset, settings: Settings) -> DryRun:
    """Build everything, take one timed step, write nothing."""
    if isinstance(preset, str):
        preset = load_preset(preset, settings.overrides)
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


def _assemble(preset: Preset, settings: Settings) -> Parts:
    extra = preset.views.build().extra_steps
    dataset = open_dataset(settings.sources, preset.data, extra_steps=extra)
    validation = None
    if settings.validation:
        validation = open_dataset(
            settings.validation, preset.data, extra_steps=extra, channels=dataset.channels
        )
    return assemble(
        preset, dataset, seed=settings.seed, device=pick_device(settings.device),
        validation=validation, init=settings.init,
    )  # fmt: skip


def _facts(data: Dataset, settings: Settings, notes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "seed": settings.seed,
        "init": None if settings.init is None else sha256(settings.init / "model.safetensors"),
        "command": settings.command,
        "channels": list(data.channels),
        "rate_hz": data.rate_hz,
        "label_names": [str(name) for name in data.classes],
        "data": {
            "sources": [str(source) for source in settings.sources],
            "records": len(data),
            "max_length": data.max_length,
            "size": data.size,
            "fingerprint": data.fingerprint,
        },
        "notes": list(notes),
    }


def _extent(data: Dataset) -> str:
    if data.size is not None:
        return "{} x {} pixels".format(*data.size)
    return f"{data.max_length:,} steps"


def _train_facts(result: TrainResult | None) -> dict[str, Any]:
    if result is None:
        return {"stopped": "done", "steps": 0, "seconds": 0.0, "weights_moved": 0.0}
    return {
        "steps": result.steps,
        "stopped": result.stopped,
        "seconds": result.seconds,
        "weights_moved": result.weights_moved,
    }


def _write_skipped(out: Path, parts: Parts) -> None:
    """List the files that were passed over, where there are any."""
    lines = [
        json.dumps({"path": str(item.path), "reason": item.reason}) for item in parts.skipped()
    ]
    if lines:
        atomic_write(out / "skipped.jsonl", "\n".join(lines) + "\n")
