"""Frozen embeddings of whole series sets: seqcl, its untrained encoder and plain baselines.

    python benchmarks/series.py --data FOLDER --out STEM [--seeds 3] [--sets A,B] [--preset NAME]

FOLDER holds NAME_TRAIN.npz and NAME_TEST.npz with X (n, C, T) and y; sets that aeon ships are
named ``aeon:NAME``. One preset for every set; the encoder sees the training series without
labels, choices are made on the training part, the test part is scored once. Each set and seed
runs in a process of its own with one thread, so CPU-seconds and memory are its own; a stopped
benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import wilcoxon

from seqcl.batch import Embeddings
from seqcl.config import load_preset
from seqcl.config.preset import Preset
from seqcl.data.dataset import open_dataset
from seqcl.errors import SeqclError
from seqcl.evaluation.base import Report
from seqcl.files import atomic_write
from seqcl.modalities.base import NotApplicable
from seqcl.registry import Spec, registry
from seqcl.run.build import build_model, prepare
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed

AEON = ("ACSF1", "ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels",
        "OSULeaf", "PickupGestureWiimoteZ")  # fmt: skip
TASKS = ("linear", "knn", "clustering", "retrieval")
COLUMNS = ("linear_accuracy", "knn_accuracy", "retrieval_map", "clustering_ari")
TRAINED, UNTRAINED = "seqcl", "untrained"
Flat = dict[str, Any]


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    options = _options()
    path = options.out.with_suffix(".json")
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    context = multiprocessing.get_context("spawn")
    for name in sets_of(options):
        for seed in range(options.seeds):
            if any((r["set"], r["seed"]) == (name, seed) for r in records):
                continue
            work = (name, seed, str(options.data or ""), options.preset, tuple(options.set))
            with context.Pool(1) as pool:
                records += pool.apply(measure, work)
            atomic_write(path, json.dumps(records, indent=1) + "\n")
            print(_line(records, name, seed), flush=True)
    text = summarise(records, options.preset)
    atomic_write(options.out.with_suffix(".md"), text)
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of NAME_TRAIN.npz and NAME_TEST.npz")
    parser.add_argument("--out", type=Path, required=True, help="stem of the files to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default="", help="names, comma-separated; default: all")
    parser.add_argument("--preset", default="series")
    parser.add_argument("--set", action="append", default=[], help="change to the preset")
    parser.add_argument("--quick", action="store_true", help="three small sets, one seed")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.sets = 1, "aeon:ArrowHead,aeon:ItalyPowerDemand,aeon:BasicMotions"
    return options


def sets_of(options: argparse.Namespace) -> list[str]:
    """Return the names of the sets asked for; by default all of the folder and of aeon."""
    if options.sets:
        return list(options.sets.split(","))
    own = (
        sorted(p.name.removesuffix("_TRAIN.npz") for p in options.data.glob("*_TRAIN.npz"))
        if options.data
        else []
    )
    return [*own, *(f"aeon:{name}" for name in AEON)]


def sources_of(name: str, folder: str) -> tuple[str, str]:
    """Return the training and the test source of a set."""
    if name.startswith("aeon:"):
        return f"{name}:train", f"{name}:test"
    return f"{folder}/{name}_TRAIN.npz", f"{folder}/{name}_TEST.npz"


def measure(
    name: str, seed: int, folder: str, preset_name: str, overrides: Sequence[str]
) -> list[Flat]:
    """Return one flat record per system for one set and seed."""
    warnings.filterwarnings("ignore")  # of baselines' libraries
    torch.set_num_threads(1)
    preset = load_preset(preset_name, overrides)
    records = []
    for system, made in _systems(preset, sources_of(name, folder), seed):
        record: Flat = {"set": name, "system": system, "seed": seed}
        if isinstance(made, str):
            record["reason"] = made
        else:
            reference, test, tasks, cost = made
            record |= cost
            for task in tasks:
                report = report_of(task, reference, test)
                record |= {
                    f"{task}_{key}": round(value, 6) for key, value in report.metrics.items()
                }
        record["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        records.append(record)
    return records


def report_of(task: str, reference: Embeddings, test: Embeddings) -> Report:
    """Return what an evaluator says with its defaults."""
    evaluator = Spec("evaluators", task).build()
    report: Report = evaluator(test, reference)
    return report


Made = tuple[Embeddings, Embeddings, Sequence[str], dict[str, float]]


def _systems(
    preset: Preset, sources: tuple[str, str], seed: int
) -> Iterator[tuple[str, Made | str]]:
    train = open_dataset([sources[0]], preset.data)
    test = open_dataset([sources[1]], preset.data, channels=train.channels)
    control = build_model(preset, train.channels, train.rate_hz, seed)
    prepare(control, train, seed)
    control.eval()
    before = time.process_time()
    pair = embed(control, train), embed(control, test)
    yield UNTRAINED, (*pair, TASKS, {"fit_s": 0.0, "embed_s": time.process_time() - before})
    before = time.process_time()
    parts = assemble(preset, train, seed=seed, device=torch.device("cpu"))
    fit(parts)
    fitted = time.process_time()
    pair = embed(parts.model, train), embed(parts.model, test)
    cost = {"fit_s": fitted - before, "embed_s": time.process_time() - fitted}
    yield TRAINED, (*pair, TASKS, cost)
    for name in preset.modality.baselines:
        baseline = registry("baselines")[name]()
        before = time.process_time()
        try:
            made = baseline(train, test, seed)
        except (NotApplicable, SeqclError) as reason:
            yield name, str(reason)
            continue
        tasks = [task for task in TASKS if task in baseline.evaluators]
        yield name, (*made, tasks, {"fit_s": 0.0, "embed_s": time.process_time() - before})


def _line(records: Sequence[Flat], name: str, seed: int) -> str:
    shown = [
        f"{r['system']} {r.get('linear_accuracy', r.get('knn_accuracy', float('nan'))):.3f}"
        for r in records
        if (r["set"], r["seed"]) == (name, seed) and "reason" not in r
    ]
    return f"{name} seed {seed}: {', '.join(shown)}"


def summarise(records: Sequence[Flat], preset: str) -> str:
    """Return the tables as Markdown: by set, means, wins and losses, cost."""
    names = list(dict.fromkeys(r["set"] for r in records))
    systems = list(dict.fromkeys(r["system"] for r in records))
    seeds = len({r["seed"] for r in records})
    lines = [f"# Series: preset `{preset}`, {len(names)} sets, {seeds} seeds", ""]
    for column in COLUMNS:
        present = [s for s in systems if any(column in r for r in records if r["system"] == s)]
        lines += [f"## {column.replace('_', ' ')}", "", f"| set | {' | '.join(present)} |",
                  f"|---|{'---|' * len(present)}"]  # fmt: skip
        for name in names:
            cells = [_cell(_values(records, name, system, column)) for system in present]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        common = [n for n in names if all(_values(records, n, s, column) for s in present)]
        means = [
            np.mean([np.mean(_values(records, n, s, column)) for n in common]) for s in present
        ]
        lines.append(f"| **mean of {len(common)}** | {' | '.join(f'**{m:.3f}**' for m in means)} |")
        lines.append("")
        lines += [_against(records, names, column, other) for other in present if other != TRAINED]
        lines.append("")
    lines += _cost(records, systems)
    return "\n".join(lines) + "\n"


def _values(records: Sequence[Flat], name: str, system: str, column: str) -> list[float]:
    return [r[column] for r in records if (r["set"], r["system"]) == (name, system) and column in r]


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{np.mean(values):.3f}" + (
        f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    )


def _against(records: Sequence[Flat], names: Sequence[str], column: str, other: str) -> str:
    """Say the mean difference over the sets, its bootstrap interval, wins, losses and Wilcoxon."""
    pairs = [
        (np.mean(a), np.mean(b))
        for name in names
        if (a := _values(records, name, TRAINED, column))
        and (b := _values(records, name, other, column))
    ]
    gaps = np.array([a - b for a, b in pairs])
    draws = np.random.default_rng(0).choice(gaps, (10_000, len(gaps))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    p = wilcoxon(gaps).pvalue if np.any(gaps) and len(gaps) > 1 else float("nan")
    return (
        f"- {TRAINED} minus {other}, {len(gaps)} sets: {gaps.mean():+.3f} "
        f"(95 % {low:+.3f} to {high:+.3f}), wins {int((gaps > 0).sum())}, "
        f"losses {int((gaps < 0).sum())}, Wilcoxon p = {p:.3g}"
    )


def _cost(records: Sequence[Flat], systems: Sequence[str]) -> list[str]:
    lines = ["## Cost of one set (CPU-seconds of one thread, mean)", "",
             "| system | fit | embed | peak MB so far |", "|---|---|---|---|"]  # fmt: skip
    for system in systems:
        own = [r for r in records if r["system"] == system and "fit_s" in r]
        fit_s, embed_s, peak = (
            np.mean([r[k] for r in own]) for k in ("fit_s", "embed_s", "peak_mb")
        )
        lines.append(f"| {system} | {fit_s:.1f} | {embed_s:.1f} | {peak:,.0f} |")
    return lines


if __name__ == "__main__":
    main()
