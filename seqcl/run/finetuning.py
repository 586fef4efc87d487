"""Fine-tune: from a run and labelled data to a run with a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqcl.config.edit import parse_set, set_option
from seqcl.config.preset import Preset, apply_overrides, resolve_preset
from seqcl.config.resolve import Faults, resolve_options, tree_of
from seqcl.data.dataset import Dataset
from seqcl.data.source import Skipped
from seqcl.errors import PresetError, did_you_mean
from seqcl.evaluation.labels import LabelBudget
from seqcl.files import atomic_write, locked, sha256, sweep
from seqcl.finetuning.options import FinetuneOptions
from seqcl.finetuning.targets import Targets
from seqcl.run.build import embedding_spec, pick_device, threads
from seqcl.run.embedding import open_for
from seqcl.run.facts import data_facts, train_facts, write_skipped
from seqcl.run.folder import Run, save_initial, save_model, write_manifest
from seqcl.run.launching import refuse_many_processes
from seqcl.run.resuming import open_folder, refuse_changes, removed_if_refused
from seqcl.run.supervising import Supervision, supervise
from seqcl.training.loop import TrainResult, train
from seqcl.training.sinks import JsonlSink, Sink

__all__ = ["FinetuneResult", "FinetuneSettings", "finetune", "tuned_preset"]

_TRAINING = {"batch_size": 64, "diagnose_every": 0}
"""What fine-tuning changes of the defaults of `training:`; collapse is no danger with labels."""

_SETTABLE = ("data", "views", "training", "finetune")


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """What a fine-tuning is made of beside the run that it starts from."""

    sources: Sequence[str]
    validation: Sequence[str] = ()
    overrides: Sequence[str] = ()
    """Of `data`, `views`, `training` and `finetune`."""
    labels: LabelBudget | None = None
    """How many labels may be seen; None = all."""
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    command: str = ""


@dataclass(frozen=True)
class FinetuneResult:
    """What happened: where the run is, what it predicts, how training went."""

    folder: Path
    train: TrainResult
    targets: Targets
    best: Mapping[str, float]
    """Of the weights that are kept: `step`, `validation_loss` and what else was measured; empty
    where nothing was held out."""
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def finetune(
    run: Run,
    settings: FinetuneSettings,
    out: Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    sinks: Sequence[Sink] = (),
) -> FinetuneResult:
    """Train a head on the run's encoder, and the encoder with it, and write the run folder `out`.

    Raises what `pretrain` raises for `out` and `resume`, and what `supervise` raises for labels.
    """
    start = run.model  # before the preset is changed: a detector has none, and says so
    preset, options = tuned_preset(run, settings.overrides)
    refuse_many_processes("finetune")
    resume, notes = open_folder(out, resume)
    everything: list[Sink] = [JsonlSink(out / "metrics.jsonl"), *sinks]

    def tell(step: int, measured: Mapping[str, float]) -> None:
        for sink in everything:
            sink.on_log({"step": step, **measured})

    with locked(out), removed_if_refused(out), threads(settings.threads):
        sweep(out)
        data, validation = _data(run, settings)
        parts = supervise(
            preset, options, deepcopy(start), data, seed=settings.seed,
            device=pick_device(settings.device), validation=validation, budget=settings.labels,
            on_look=tell,
        )  # fmt: skip
        notes += (*data.notes, *parts.notes)
        facts = _facts(run, settings, options, parts, notes)
        if resume:
            refuse_changes(out, preset, facts)
        else:
            atomic_write(out / "preset.yaml", preset.yaml())
            save_initial(out, run.untrained())
            write_manifest(out, facts)
        skipped = data.skipped + (validation.skipped if validation else ())
        write_skipped(out, skipped)
        for text in notes:
            for sink in sinks:
                sink.on_note(text)
        result = train(
            parts.method, parts.views, parts.model.frontend, parts.loader, preset.training,
            seed=settings.seed, folder=out, device=pick_device(settings.device),
            sinks=everything, resume=resume, max_minutes=max_minutes,
        )  # fmt: skip
        best = keep_best(parts)
        facts["train"] = {**train_facts(result), "best": best}
        save_model(out, parts.model, facts, parts.head)
    return FinetuneResult(out, result, parts.targets, best, skipped, notes)


def keep_best(parts: Supervision) -> dict[str, float]:
    """Put the best weights back, move all to the CPU, and return what those weights measure."""
    method = parts.method
    method.restore_best()
    measured: dict[str, float] = {}
    if method.held_out is not None and method.best is not None:
        measured = {"step": int(method.best.step), **method.measure(method.held_out)[1]}
    method.cpu().eval()
    parts.model.cpu().eval()
    return measured


def tuned_preset(run: Run, overrides: Sequence[str]) -> tuple[Preset, FinetuneOptions]:
    """Return the preset that a fine-tuned run keeps, `method: none`, and the options of the head.

    Raises PresetError with every fault, sections that cannot be changed here among them.
    """
    tree = {**run.preset.tree(), "method": "none", "training": dict(_TRAINING)}
    tree["embedding"] = tree_of(embedding_spec(run.preset))  # with the head of the method that goes
    raw: dict[str, Any] = {}
    others, told = [], []
    for text in overrides:
        try:
            keys, value = parse_set(text)
            section = str(keys[0])
            if section not in _SETTABLE:
                known = did_you_mean(section, _SETTABLE)
                told.append(f"--set {text}: cannot be changed once a run is trained.{known}")
            elif section == "finetune":
                raw = set_option(raw, FinetuneOptions, keys[1:], value, section)
            else:
                others.append(text)
        except PresetError as error:
            told += error.faults
    faults = Faults()
    checked = resolve_options(FinetuneOptions, raw, "finetune", faults)
    told += [f"--set {message}" for message in faults.messages()]
    try:
        preset = resolve_preset(apply_overrides(tree, others), str(run.path))
    except PresetError as error:
        raise PresetError([*told, *error.faults]) from None
    if checked is None or told:
        raise PresetError(told)
    return preset, FinetuneOptions(**checked)


def _data(run: Run, settings: FinetuneSettings) -> tuple[Dataset, Dataset | None]:
    changes = [text for text in settings.overrides if text.split(".")[0].strip() == "data"]
    data = open_for(run, settings.sources, changes)
    if not settings.validation:
        return data, None
    return data, open_for(run, settings.validation, changes)


def _facts(
    run: Run,
    settings: FinetuneSettings,
    options: FinetuneOptions,
    parts: Supervision,
    notes: tuple[str, ...],
) -> dict[str, Any]:
    """Return the manifest of a fine-tuned run, before training."""
    names = options.__dataclass_fields__
    return {
        "seed": settings.seed,
        "init": sha256(run.path / "model.safetensors"),
        "command": settings.command,
        "channels": list(run.channels),
        "rate_hz": run.manifest["rate_hz"],
        "label_names": [str(name) for name in parts.targets.classes],
        "data": data_facts(parts.loader.dataset, settings.sources),
        "finetune": {
            "options": {name: tree_of(getattr(options, name)) for name in names},
            "labels": str(settings.labels or LabelBudget()),
            "validation": None if parts.held_out is None else parts.held_out.fingerprint,
            "targets": parts.targets.facts(),
        },
        "notes": list(notes),
    }
