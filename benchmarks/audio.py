"""Frozen embeddings of clips: retrieval and a linear probe, beside control rows of the same run.

    python benchmarks/audio.py --data FOLDER --out STEM [--seeds 3] [--sets esc10,fsdd] [--quick]

FOLDER holds esc10/ and fsdd/, each with a labels.csv (docs/guide/audio.md tells the form).

esc10       each of five folds as queries against the other four, on which alone the model is
            pretrained (inductive); the mean of the five.
esc10_all   the same queries, by one model that was pretrained on all clips, without labels
            (transductive).
fsdd        spoken digits of two speakers against those of four others, on which alone the model is
            pretrained; also with the mean of each speaker taken away (`--centre group`).
fsdd_speakers  each of those four against the three others; what `speech` was chosen by.

Cosine similarity; P@1, average precision over the whole ranking and over its first 10, and logistic
regression (C = 1) on standardised embeddings. Each part of a set and seed runs in a process of its
own with one thread; a stopped benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import table, table_options
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from seqcl.batch import Embeddings
from seqcl.config.preset import Preset, load_preset
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.embeddings.centring import centre_groups
from seqcl.files import atomic_write
from seqcl.metrics.retrieval import retrieval_scores
from seqcl.model import Model
from seqcl.registry import registry
from seqcl.run.build import build_model, prepare
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed

Flat = dict[str, Any]
TRAINED, UNTRAINED = "seqcl", "untrained encoder"
METRICS = ("p_at_1", "linear", "map", "map_at_10", "fit_s", "embed_s")
FOLDS = ("1", "2", "3", "4", "5")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Set:
    """A set: its folder, its default preset, the options that name its columns, its parts."""

    folder: str
    preset: str
    columns: tuple[str, ...]
    parts: tuple[str, ...]
    """Splits that are queries, one a part."""
    gallery: tuple[str, ...]
    """Splits that are searched, less the queries."""
    transductive: bool = False
    centred: bool = False
    """Whether there are rows with the mean of each group (speaker) taken away, too."""


_ESC = ("data.label=category", "data.group=freesound_id", "data.split=fold")
_TRAINING_SPEAKERS = ("george", "jackson", "lucas", "nicolas")
SETS = {
    "esc10": Set("esc10", "audio-instant", _ESC, FOLDS, FOLDS),
    "esc10_all": Set("esc10", "audio-instant", _ESC, FOLDS, FOLDS, transductive=True),
    "fsdd": Set(
        "fsdd",
        "speech",
        ("data.label=digit", "data.group=speaker"),
        ("test",),
        ("train",),
        centred=True,
    ),
    "fsdd_speakers": Set(
        "fsdd",
        "speech",
        ("data.label=digit", "data.group=speaker", "data.split=speaker"),
        _TRAINING_SPEAKERS,
        _TRAINING_SPEAKERS,
        centred=True,
    ),
}


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    options = _options()
    path = options.out.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    context = multiprocessing.get_context("spawn")
    for seed in range(options.seeds):
        for name in options.sets.split(","):
            done = {r["part"] for r in records if (r["set"], r["seed"]) == (name, seed)}
            for parts in _jobs(SETS[name], options.quick):
                if done.issuperset(parts):
                    continue
                work = (name, parts, seed, options.data, options.preset, tuple(options.set))
                with context.Pool(1) as pool:
                    records += pool.apply(measure, work)
                atomic_write(path, json.dumps(records, indent=1) + "\n")
                print(_line(records[-1]), flush=True)
    text = summarise(records)
    atomic_write(options.out.with_suffix(".md"), text)
    print(text)


def _options() -> argparse.Namespace:
    parser = table_options(
        __doc__, "folder of esc10/ and fsdd/", sets="esc10,fsdd",
        quick="one seed, one part of each set",
    )  # fmt: skip
    parser.add_argument("--preset", help="instead of each set's own")
    parser.add_argument("--set", action="append", default=[], help="change to the preset")
    options = parser.parse_args()
    options.seeds = 1 if options.quick else options.seeds
    return options


def _jobs(chosen: Set, quick: bool) -> list[tuple[str, ...]]:
    """Return the parts that share a model: all of them where it is fitted to all clips."""
    parts = chosen.parts[: 1 if quick else None]
    return [parts] if chosen.transductive else [(part,) for part in parts]


def measure(
    name: str,
    parts: Sequence[str],
    seed: int,
    data: Path,
    preset_name: str | None,
    overrides: Sequence[str],
) -> list[Flat]:
    """Return one flat record per system and part of a set, for one seed."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    chosen = SETS[name]
    preset = load_preset(preset_name or chosen.preset, (*chosen.columns, *overrides))
    folder = data / chosen.folder
    left = [s for s in chosen.gallery if chosen.transductive or s not in parts]
    models = _models(preset, _opened(folder, left, preset), seed)
    records = []
    for part in parts:
        gallery = _opened(folder, [split for split in chosen.gallery if split != part], preset)
        queries = _opened(folder, [part], preset)
        for system, first, second, cost in _systems(preset, models, gallery, queries, seed):
            rows = {system: (first, second)}
            if chosen.centred:
                rows[f"{system}, centred"] = centre_groups(first), centre_groups(second)
            for row, pair in rows.items():
                record = {"set": name, "part": part, "seed": seed, "system": row}
                record |= scores(*pair) | cost
                record["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
                records.append(record)
    return records


def _opened(folder: Path, splits: Sequence[str], preset: Preset) -> Dataset:
    return open_dataset([f"{folder}:{split}" for split in splits], preset.data)


def scores(gallery: Embeddings, queries: Embeddings) -> Flat:
    """Return the metrics of a query set against a gallery."""
    names = sorted(set(gallery.labels or ()), key=str)
    codes = [np.array([names.index(label) for label in part.labels or ()])
             for part in (gallery, queries)]  # fmt: skip
    found = retrieval_scores(queries.values, codes[1], gallery.values, codes[0], "cosine")
    scaler = StandardScaler().fit(gallery.values)
    probe = LogisticRegression(C=1.0, max_iter=2_000)
    probe.fit(scaler.transform(gallery.values), codes[0])
    made = {name: float(np.nanmean(values)) for name, values in found.items()}
    made["linear"] = float(probe.score(scaler.transform(queries.values), codes[1]))
    return {name: round(value, 6) for name, value in made.items()}


Made = tuple[str, Embeddings, Embeddings, dict[str, float]]
Models = dict[str, tuple[Model, float]]
"""By system, with the CPU-seconds of the fit."""


def _models(preset: Preset, training: Dataset, seed: int) -> Models:
    control = build_model(preset, training.channels, training.rate_hz, seed)
    prepare(control, training, seed)
    before = time.process_time()
    parts = assemble(preset, training, seed=seed, device=CPU)
    fit(parts)
    return {UNTRAINED: (control.eval(), 0.0), TRAINED: (parts.model, _since(before))}


def _systems(
    preset: Preset, models: Models, gallery: Dataset, queries: Dataset, seed: int
) -> Iterator[Made]:
    for name in preset.modality.baselines:
        before = time.process_time()
        first, second = registry("baselines")[name]()(gallery, queries, seed)
        yield name, first, second, {"fit_s": 0.0, "embed_s": _since(before)}
    for name, (model, fit_s) in models.items():
        before = time.process_time()
        pair = embed(model, gallery), embed(model, queries)
        yield name, *pair, {"fit_s": fit_s, "embed_s": _since(before)}


def _since(before: float) -> float:
    return round(time.process_time() - before, 2)


def _line(record: Flat) -> str:
    shown = ", ".join(f"{name} {record[name]:.3f}" for name in METRICS)
    return f"{record['set']} {record['part']} seed {record['seed']} {record['system']}: {shown}"


def summarise(records: Sequence[Flat]) -> str:
    """Return a table as Markdown: means over parts, then mean and deviation over seeds."""
    rows = []
    for name in dict.fromkeys(r["set"] for r in records):
        for system in dict.fromkeys(r["system"] for r in records if r["set"] == name):
            own = [r for r in records if (r["set"], r["system"]) == (name, system)]
            seeds = sorted({r["seed"] for r in own})
            row: Flat = {"set": name, "system": system, "seeds": len(seeds)}
            row["parts"] = len({r["part"] for r in own})
            for metric in METRICS:
                means = [np.mean([r[metric] for r in own if r["seed"] == seed]) for seed in seeds]
                row[metric] = _cell(means, 1 if metric.endswith("_s") else 3)
            rows.append(row)
    return (
        "# Audio clips\n\nfit_s and embed_s are CPU-seconds of one thread, other work on the "
        f"machine.\n\n{table(rows)}\n"
    )


def _cell(means: Sequence[float], digits: int) -> str:
    text = f"{np.mean(means):.{digits}f}"
    return text + (f" ± {np.std(means, ddof=1):.{digits}f}" if len(means) > 1 else "")


if __name__ == "__main__":
    main()
