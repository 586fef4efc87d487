"""A run that is a detector: fitted, written, and opened again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from seqcl.config.preset import Preset, changed_data, data_options
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.source import Skipped
from seqcl.detection.detector import Detector
from seqcl.detection.series import Series, series_of
from seqcl.detection.usual import usual_stretches
from seqcl.errors import DataError, UsageError
from seqcl.files import atomic_write, locked, sha256, sweep
from seqcl.modalities.sequence.timestamps import GAP_STEPS
from seqcl.run.build import threads
from seqcl.run.embedding import check_rate
from seqcl.run.facts import data_facts, train_facts, write_skipped
from seqcl.run.folder import Run, check_file, load, write_manifest
from seqcl.run.pretraining import PretrainResult, Settings
from seqcl.run.resuming import open_folder
from seqcl.training.sinks import Sink
from seqcl.weights import read_tensors, tensor_bytes

__all__ = ["load_detector", "open_for_detector", "open_recordings", "pretrain_detector"]

_WEIGHTS = "detector.safetensors"
_LONGEST = 1 << 40
"""Rows of a recording that are taken whole: any number."""


def pretrain_detector(
    preset: Preset,
    settings: Settings,
    out: Path,
    *,
    resume: bool,
    max_minutes: float | None,
    sinks: Sequence[Sink],
) -> PretrainResult:
    """Fit the preset's detector to recordings and write the run folder `out`.

    A detector is fitted in one go: resuming begins anew where it was not finished. With `init`, a
    run that is a detector, it is fitted to what that one finds usual, with its window.
    """
    assert preset.detector is not None
    _refuse_options(settings, max_minutes)
    with threads(settings.threads), ExitStack() as held:
        _, notes = open_folder(out, resume)
        held.enter_context(locked(out))
        sweep(out)
        before = None if settings.init is None else load(settings.init)
        channels = None if before is None else before.channels
        dataset = open_recordings(preset, settings.sources, channels=channels)
        atomic_write(out / "preset.yaml", preset.yaml())
        detector = preset.detector.build()
        series = list(series_of(dataset))
        if before is not None:
            check_rate(before, dataset, settings.sources[0])
            series, told = _usual(load_detector(before), detector, series)
            notes += (told,)
        detector.fit(series, settings.seed)
        dataset.skipped += tuple(
            Skipped(one.id, f"its {len(one):,} rows are too few for a window of {detector.window}")
            for place, one in enumerate(series)
            if place not in detector.kept
        )
        write_skipped(out, dataset.skipped)
        notes += (*dataset.notes, _told(detector, dataset.channels))
        for text in notes:
            for sink in sinks:
                sink.on_note(text)
        atomic_write(out / _WEIGHTS, tensor_bytes(detector.tensors()))
        facts = {
            "seed": settings.seed,
            "world_size": 1,
            "init": None if settings.init is None else sha256(settings.init / _WEIGHTS),
            "command": settings.command,
            "channels": list(dataset.channels),
            "rate_hz": dataset.rate_hz,
            "label_names": [],
            "data": data_facts(dataset, settings.sources),
            "recordings": [series[place].id for place in detector.kept],
            "notes": list(notes),
            "train": train_facts(None),
        }
        write_manifest(out, facts, ("preset.yaml", _WEIGHTS))
        return PretrainResult(out, None, dataset.skipped, notes, is_detector=True)


def _refuse_options(settings: Settings, max_minutes: float | None) -> None:
    """Raise UsageError for what a detector, fitted on the CPU without steps, would not heed."""
    given = {
        "--val": bool(settings.validation),
        "--device cuda": settings.device == "cuda",
        "--tensorboard": settings.tensorboard,
        "--max-minutes": max_minutes is not None,
    }
    if named := [name for name, is_given in given.items() if is_given]:
        raise UsageError(
            f"{', '.join(named)}: no meaning for a detector, which is fitted on the CPU in one go; "
            "leave out"
        )


def _usual(
    before: Detector, detector: Detector, series: Sequence[Series]
) -> tuple[list[Series], str]:
    """Return what `before` finds usual, and how much that is; without one given, its window."""
    found = [part for one in series for part in usual_stretches(before, one)]
    rows, kept = (sum(map(len, parts)) for parts in (series, found))
    if not found:
        raise DataError(
            f"--init: in {rows:,} rows it finds no stretch usual that is long enough, six windows "
            f"of {before.window}; give longer recordings, or leave --init out"
        )
    detector.given = detector.given or before.window
    return found, f"{kept:,} of {rows:,} rows are usual to --init, and learnt from"


def load_detector(run: Run) -> Detector:
    """Return the detector of a run; raises UsageError where it is none."""
    if run.preset.detector is None:
        raise UsageError(
            f"{run.path}: is an encoder and no detector; 'seqcl pretrain sensor-anomaly' makes one"
        )
    path = run.path / _WEIGHTS
    check_file(path, run.manifest)
    detector: Detector = run.preset.detector.build()
    detector.restore(read_tensors(path.read_bytes(), path))
    return detector


def open_recordings(
    preset: Preset,
    sources: Sequence[str],
    overrides: Sequence[str] = (),
    channels: tuple[str, ...] | None = None,
) -> Dataset:
    """Open data as whole recordings of any length, whatever windows the preset names."""
    options = data_options(changed_data(preset.tree()["data"], overrides))
    options = replace(options, window=None, hop=None, max_steps=_LONGEST)
    return open_dataset(sources, options, channels=channels)


def open_for_detector(
    run: Run, sources: Sequence[str], overrides: Sequence[str] = ()
) -> tuple[Detector, Dataset]:
    """Return a run's detector, and recordings of its channels and about its sampling rate.

    Rows that come irregularly have another mean rate in each file.
    """
    detector = load_detector(run)
    dataset = open_recordings(run.preset, sources, overrides, run.channels)
    check_rate(run, dataset, sources[0], within=GAP_STEPS)
    return detector, dataset


def _told(detector: Detector, names: Sequence[str]) -> str:
    """Say what was fitted, and what its calibration can promise."""
    weights = sorted(detector.weights.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{name} {share:.0%}" for name, share in weights if share >= 0.005)
    calibration = detector.calibrations["centred"]
    still = detector.constant
    told = f"; constant in training: {', '.join(names[c] for c in still)}" if still else ""
    if len(still) == len(names):
        told = "; every channel is constant in training, so that any change counts as an anomaly"
    lowest = f"{calibration.lowest_share:.2%} of normal rows or more"
    return (
        f"window of {detector.window} rows; scores by weight: {shares}; {calibration.rows:,} "
        f"rows of calibration support alarms on {lowest}{told}"
    )
