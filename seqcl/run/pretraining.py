"""Pretrain: from a preset and data to a run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqcl.config.preset import Preset, load_preset
from seqcl.config.yaml import read_yaml
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.source import Skipped
from seqcl.errors import PresetError, UsageError
from seqcl.files import atomic_write, locked, sweep
from seqcl.run.build import pick_device, threads
from seqcl.run.fitting import Parts, assemble, fit
from seqcl.run.folder import read_manifest, save_model, write_manifest
from seqcl.training.estimate import Estimate, estimate
from seqcl.training.loop import TrainResult
from seqcl.training.sinks import JsonlSink, Sink

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
    max_length: int
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
    resume, notes = _open_folder(out, resume)
    with locked(out), threads(settings.threads):
        parts = _assemble(preset, settings)
        notes += tuple(parts.dataset.notes)
        facts = _facts(parts.dataset, settings, notes)
        if resume:
            _refuse_changes(out, preset, facts)
        else:
            atomic_write(out / "preset.yaml", preset.yaml())
            write_manifest(out, facts)
        _write_skipped(out, parts.dataset)
        for text in notes:
            for sink in sinks:
                sink.on_note(text)
        everything = (JsonlSink(out / "metrics.jsonl"), *sinks)
        result = fit(parts, folder=out, resume=resume, max_minutes=max_minutes, sinks=everything)
        save_model(out, parts.model, {**facts, "train": _train_facts(result)})
    return PretrainResult(out, result, tuple(parts.dataset.skipped), notes)


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
    return DryRun(
        preset.yaml(), len(data), data.channels, data.max_length, tuple(data.notes), measured
    )


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


def _open_folder(out: Path, resume: bool) -> tuple[bool, tuple[str, ...]]:
    """Return whether there is something to resume, with a note where resuming starts afresh."""
    begun = (out / "manifest.json").exists()
    if out.exists() and any(out.iterdir()) and not resume:
        raise UsageError(f"--out {out}: exists already; choose another folder, or --resume it")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give a folder")
    if resume and begun and "files" in read_manifest(out):
        raise UsageError(f"--resume {out}: the run is finished; nothing is left to train")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "lock").touch()
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror})") from None
    sweep(out)
    if resume and not begun:
        return False, (f"--resume: {out} holds no run yet; starting one",)
    return resume, ()


def _facts(data: Dataset, settings: Settings, notes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "seed": settings.seed,
        "command": settings.command,
        "channels": list(data.channels),
        "rate_hz": data.rate_hz,
        "label_names": [str(name) for name in data.classes],
        "data": {
            "sources": [str(source) for source in settings.sources],
            "records": len(data),
            "max_length": data.max_length,
            "fingerprint": data.fingerprint,
        },
        "notes": list(notes),
    }


def _train_facts(result: TrainResult | None) -> dict[str, Any]:
    if result is None:
        return {}
    return {"steps": result.steps, "seconds": result.seconds, "weights_moved": result.weights_moved}


def _refuse_changes(out: Path, preset: Preset, facts: dict[str, Any]) -> None:
    """Compare with the run in `out`; raises PresetError with each difference."""
    before, now = read_manifest(out), facts
    changes = [
        f"{name} was {before[name]!r}, now {now[name]!r}"
        for name in ("seed", "channels")
        if before[name] != now[name]
    ]
    if before["data"]["fingerprint"] != now["data"]["fingerprint"]:
        changes.append("the training data is not the same")
    changes += differences(read_yaml(out / "preset.yaml"), preset.tree())
    if changes:
        lead = f"--resume {out}: "
        raise PresetError([lead + text for text in changes] + [lead + "use another --out instead"])


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    """Return where two trees differ, one line each."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in dict.fromkeys([*before, *now])
            for line in differences(before.get(key), now.get(key), f"{where}.{key}".lstrip("."))
        ]
    return [] if before == now else [f"{where} was {before!r}, now {now!r}"]


def _write_skipped(out: Path, dataset: Dataset) -> None:
    if not dataset.skipped:
        return
    lines = [
        json.dumps({"path": str(item.path), "reason": item.reason}) for item in dataset.skipped
    ]
    atomic_write(out / "skipped.jsonl", "\n".join(lines) + "\n")
