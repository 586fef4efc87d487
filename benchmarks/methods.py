"""What each method's training is worth: its encoder against the same one untrained.

    python benchmarks/methods.py --data FOLDER --out STEM [--sets A,B] [--methods P,Q] [--seeds 3]

FOLDER and sets as in series.py; `--methods` names presets, by default all that train by gradient.
Everything but the training is the same on both sides: views and encoder are the preset's, and the
linear probe and the nearest neighbour see frozen embeddings. Only methods that are supervised see
labels while they train. Each preset, set and seed runs in a process of its own with one thread; a
stopped benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from series import TRAINED, UNTRAINED, Flat, report_of, sets_of, sources_of

from seqcl.config import load_preset
from seqcl.config.preset import preset_names
from seqcl.data.dataset import open_dataset
from seqcl.files import atomic_write
from seqcl.run.build import build_model, prepare
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed

TASKS = {"linear": "linear_accuracy", "knn": "knn_accuracy"}
_SERIES = tuple(n for n in preset_names() if load_preset(n).modality.name == "sequence")
GRADIENT = tuple(name for name in _SERIES if load_preset(name).method)
Row = tuple[str, tuple[str, ...]]
"""A preset and changes to it."""
MORE: dict[str, Row] = {"moco_v3": ("series", ("method=moco_v3",))}
"""Methods without a preset of their own, with the views and the encoder of another."""


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    options = parse(__doc__, {name: (name, ()) for name in GRADIENT} | MORE)
    records = run(options)
    text = summarise(records, options.steps)
    atomic_write(options.out.with_suffix(".md"), text)
    print(text)


def parse(description: str | None, rows: Mapping[str, Row]) -> argparse.Namespace:
    """Return the options, with `rows` cut down to those that are asked for."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of NAME_TRAIN.npz and NAME_TEST.npz")
    parser.add_argument("--out", type=Path, required=True, help="stem of the files to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default="", help="names, comma-separated; default: all")
    parser.add_argument("--methods", default=",".join(rows), help="rows; default: all")
    parser.add_argument("--steps", type=int, help="optimizer steps, instead of the preset's")
    options = parser.parse_args()
    options.rows = {name: rows[name] for name in options.methods.split(",")}
    return options


def run(options: argparse.Namespace) -> list[Flat]:
    """Measure what is missing of the rows, sets and seeds asked for; returns all of that length."""
    path = options.out.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    context = multiprocessing.get_context("spawn")
    done = {(r["preset"], r["set"], r["seed"], r["steps"]) for r in records}
    names = sets_of(options)
    for name in names:
        for seed in range(options.seeds):
            for row in options.rows:
                if (row, name, seed, options.steps) in done:
                    continue
                work = (row, options.rows[row], name, seed, str(options.data or ""), options.steps)
                with context.Pool(1) as pool:
                    records += pool.apply(measure, work)
                atomic_write(path, json.dumps(records, indent=1) + "\n")
                print(_line(records[-2:]), flush=True)
    return [r for r in records if r["steps"] == options.steps]


def measure(
    label: str, row: Row, name: str, seed: int, folder: str, steps: int | None
) -> list[Flat]:
    """Return two flat records: the untrained encoder's and the trained one's."""
    warnings.filterwarnings("ignore")  # of scikit-learn
    torch.set_num_threads(1)
    cut = [] if steps is None else [f"training.steps={steps}", "training.epochs=null"]
    preset = load_preset(row[0], [*row[1], *cut])
    sources = sources_of(name, folder)
    train = open_dataset([sources[0]], preset.data, extra_steps=preset.views.build().extra_steps)
    test = open_dataset([sources[1]], preset.data, channels=train.channels)
    control = build_model(preset, train.channels, train.rate_hz, seed)
    prepare(control, train, seed)
    before = time.process_time()
    parts = assemble(preset, train, seed=seed, device=torch.device("cpu"))
    fit(parts)
    fit_s = {UNTRAINED: 0.0, TRAINED: time.process_time() - before}
    records = []
    for system, model in ((UNTRAINED, control.eval()), (TRAINED, parts.model)):
        reference, scored = embed(model, train), embed(model, test)
        record = {"preset": label, "set": name, "seed": seed, "system": system}
        record |= {"steps": steps, "fit_s": round(fit_s[system], 2)}
        for task in TASKS:
            metrics = report_of(task, reference, scored).metrics
            record |= {f"{task}_{key}": round(value, 6) for key, value in metrics.items()}
        records.append(record)
    return records


def _line(pair: Sequence[Flat]) -> str:
    before, after = pair
    shown = (f"{task} {before[key]:.3f} to {after[key]:.3f}" for task, key in TASKS.items())
    return (
        f"{after['preset']} {after['set']} seed {after['seed']}: {', '.join(shown)}, "
        f"{after['fit_s']:.1f} CPU-s"
    )


def summarise(records: Sequence[Flat], steps: int | None) -> str:
    """Return the tables as Markdown: what training adds, by preset, then by set."""
    presets = list(dict.fromkeys(r["preset"] for r in records))
    names = list(dict.fromkeys(r["set"] for r in records))
    length = "the presets' own length" if steps is None else f"{steps} steps"
    lines = [f"# Methods: trained minus untrained, {len(names)} sets, {length}", "",
             "Intervals: 95 %, bootstrap over the sets of their means over seeds; `runs` are sets "
             "times seeds. A dash = not run.", ""]  # fmt: skip
    for task, key in TASKS.items():
        lines += [f"## {task}", "", "| preset | runs | untrained | trained | difference "
                  "| interval | wins | losses | fit CPU-s |", f"|{'---|' * 9}"]  # fmt: skip
        lines += [_row([r for r in records if r["preset"] == preset], key) for preset in presets]
        lines += ["", f"| preset | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        for preset in presets:
            cells = [_cell(records, preset, name, key) for name in names]
            lines.append(f"| {preset} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def means_of(records: Sequence[Flat], key: str) -> dict[str, float]:
    """Return for each set the mean over seeds."""
    return {
        name: float(np.mean([r[key] for r in records if r["set"] == name]))
        for name in dict.fromkeys(r["set"] for r in records)
    }


def interval_of(gaps: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `gaps`, by bootstrap."""
    drawn = np.random.default_rng(0).choice(gaps, (10_000, len(gaps))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _pair(own: Sequence[Flat], key: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the means of each set, untrained and trained."""
    before, after = (
        means_of([r for r in own if r["system"] == system], key) for system in (UNTRAINED, TRAINED)
    )
    return before, after


def _row(own: Sequence[Flat], key: str) -> str:
    before, after = (np.array(list(means.values())) for means in _pair(own, key))
    gaps = after - before
    low, high = interval_of(gaps)
    fit_s = np.mean([r["fit_s"] for r in own if r["system"] == TRAINED])
    return (
        f"| {own[0]['preset']} | {len(own) // 2} | {before.mean():.3f} | {after.mean():.3f} "
        f"| {gaps.mean():+.3f} | {low:+.3f} to {high:+.3f} | {int((gaps > 0).sum())} "
        f"| {int((gaps < 0).sum())} | {fit_s:.1f} |"
    )


def _cell(records: Sequence[Flat], preset: str, name: str, key: str) -> str:
    own = [r for r in records if (r["preset"], r["set"]) == (preset, name)]
    if not own:
        return "–"
    before, after = _pair(own, key)
    return f"{before[name]:.3f} → {after[name]:.3f}"


if __name__ == "__main__":
    main()
