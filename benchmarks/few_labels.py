"""Few labels: fine-tuned against from scratch against a linear probe on frozen embeddings.

    python benchmarks/few_labels.py --data FOLDER --out STEM [--images FOLDER] [--seeds 3]
        [--sets A,B] [--quick]

FOLDER holds NAME_TRAIN.npz and NAME_TEST.npz with X (n, C, T) and y; `cifar5k` are the images of
images.py, in the folder of `--images`. One encoder a set and seed is pretrained on all training
records without their labels (`series`, `image-simclr`); then 1, 10 and 100 % of the labels are
seen, the same ones by every system. The test part is scored once. A stopped benchmark goes on
where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from images import open_set
from measuring import table_options

from seqcl.batch import Embeddings
from seqcl.config import load_preset
from seqcl.config.preset import Preset
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.evaluation.labels import LabelBudget, draw_labels
from seqcl.evaluation.linear import Linear
from seqcl.files import atomic_write
from seqcl.finetuning import FinetuneOptions, predict
from seqcl.model import Model
from seqcl.run.build import build_model, prepare
from seqcl.run.finetuning import keep_best
from seqcl.run.fitting import assemble, fit
from seqcl.run.supervising import supervise
from seqcl.training.embed import embed
from seqcl.training.loop import train

SHARES = (0.01, 0.1, 1.0)
SYSTEMS = ("fine-tuned", "from scratch", "linear probe")
Flat = dict[str, Any]
ALONE = FinetuneOptions(head_share=0.0, layer_decay=1.0, validation=0.0)
"""From scratch learns from all labels to its last step: the lowest held-out loss comes early there,
long before the best accuracy."""


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    options = _options()
    torch.set_num_threads(1)
    path = options.out.with_suffix(".json")
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    for name in options.sets.split(","):
        for seed in range(options.seeds):
            if any((r["set"], r["seed"]) == (name, seed) for r in records):
                continue
            records += measure(name, seed, options)
            atomic_write(path, json.dumps(records, indent=1) + "\n")
    text = summarise(records)
    atomic_write(options.out.with_suffix(".md"), text)
    print(text)


def _options() -> argparse.Namespace:
    parser = table_options(
        __doc__, "folder of NAME_TRAIN.npz", sets="UCIHAR_sub,cifar5k",
        quick="one small set, one seed, few steps",
    )  # fmt: skip
    parser.add_argument("--images", type=Path, help="folder of cifar10_60k_jpeg.npz.xz")
    parser.add_argument("--steps", type=int, help="of each training; default: the preset's")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.sets, options.steps = 1, "SyntheticControl", 20
    return options


def measure(name: str, seed: int, options: argparse.Namespace) -> list[Flat]:
    """Return one flat record a system and share of the labels, for one set and seed."""
    changes = () if options.steps is None else (f"training.steps={options.steps}",)
    preset = load_preset("image-simclr" if name == "cifar5k" else "series", changes)
    data, test = _open(name, options, preset)
    scratch = build_model(preset, data.channels, data.rate_hz, seed)
    prepare(scratch, data, seed)
    before = time.process_time()
    parts = assemble(preset, data, seed=seed, device=torch.device("cpu"))
    fit(parts)
    pretrain_s = time.process_time() - before
    tuned = replace(preset.training, batch_size=64, diagnose_every=0)
    records = []
    for share in SHARES:
        budget = LabelBudget(fraction=share)
        for system, correct, seconds in _systems(
            replace(preset, training=tuned), parts.model, scratch, data, test, budget, seed
        ):
            records.append(
                {"set": name, "system": system, "seed": seed, "labels": str(budget),
                 "accuracy": round(correct, 6), "fit_s": round(seconds, 2),
                 "pretrain_s": round(pretrain_s, 2)}
            )  # fmt: skip
            print(name, seed, str(budget), system, f"{correct:.3f}", flush=True)
    return records


def _open(name: str, options: argparse.Namespace, preset: Preset) -> tuple[Dataset, Dataset]:
    """Return the training and the test part."""
    if name == "cifar5k":
        return open_set(name, options.images, preset)
    train, test = (str(options.data / f"{name}_{part}.npz") for part in ("TRAIN", "TEST"))
    data = open_dataset([train], preset.data)
    return data, open_dataset([test], preset.data, channels=data.channels)


def _systems(
    preset: Preset,
    pretrained: Model,
    scratch: Model,
    data: Dataset,
    test: Dataset,
    budget: LabelBudget,
    seed: int,
) -> Iterator[tuple[str, float, float]]:
    """Yield (system, test accuracy, CPU-seconds)."""
    whole = FinetuneOptions()
    for system, model, options in (
        ("fine-tuned", pretrained, whole),
        ("from scratch", scratch, ALONE),
    ):
        yield system, *finetuned(preset, options, model, data, test, budget, seed)
    before = time.process_time()
    correct = _probe(embed(pretrained, data), embed(pretrained, test), budget, seed)
    yield "linear probe", correct, time.process_time() - before


def finetuned(
    preset: Preset,
    options: FinetuneOptions,
    model: Model,
    data: Dataset,
    test: Dataset,
    budget: LabelBudget,
    seed: int,
) -> tuple[float, float]:
    """Fine-tune a copy of the model; returns its test accuracy and the CPU-seconds."""
    before = time.process_time()
    parts = supervise(
        preset, options, deepcopy(model), data, seed=seed, device=torch.device("cpu"),
        budget=budget,
    )  # fmt: skip
    train(parts.method, parts.views, parts.model.frontend, parts.loader, preset.training, seed=seed)
    keep_best(parts)
    found = predict(parts.model, parts.head, parts.targets, test)
    correct = np.mean([a == b for a, b in zip(found.labels, test.labels, strict=True)])
    return float(correct), time.process_time() - before


def _probe(reference: Embeddings, test: Embeddings, budget: LabelBudget, seed: int) -> float:
    """Return the accuracy of the probe of `seqcl evaluate` on the same labels."""
    assert reference.labels is not None
    seen = set(draw_labels(reference.ids, reference.labels, budget, seed).tolist())
    labels = enumerate(reference.labels)
    few = replace(reference, labels=tuple(y if row in seen else None for row, y in labels))
    return float(Linear()(test, few).metrics["accuracy"])


def summarise(records: Sequence[Flat]) -> str:
    """Return the table as Markdown: test accuracy, mean and deviation over seeds."""
    seeds = len({r["seed"] for r in records})
    lines = [
        f"# Few labels: test accuracy, {seeds} seeds",
        "",
        "Fine-tuned holds a fifth of the labels out where that is 30 or more; from scratch learns",
        "from all of them to its last step.",
        "",
        f"| set | labels | {' | '.join(SYSTEMS)} |",
        f"|---|---|{'---|' * len(SYSTEMS)}",
    ]
    for name, labels in dict.fromkeys((r["set"], r["labels"]) for r in records):
        rows = [r for r in records if (r["set"], r["labels"]) == (name, labels)]
        cells = [_cell([r["accuracy"] for r in rows if r["system"] == s]) for s in SYSTEMS]
        lines.append(f"| {name} | {labels} | {' | '.join(cells)} |")
    fits = {s: np.mean([r["fit_s"] for r in records if r["system"] == s]) for s in SYSTEMS}
    told = ", ".join(f"{system} {seconds:.1f}" for system, seconds in fits.items())
    pretrain_s = np.mean([r["pretrain_s"] for r in records])
    lines += ["", f"CPU-seconds of one thread, mean: {told}; pretraining {pretrain_s:.1f}.", ""]
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{np.mean(values):.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


if __name__ == "__main__":
    main()
