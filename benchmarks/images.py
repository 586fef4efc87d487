"""What each method is worth on images, beside controls and lightly at equal CPU time.

    python benchmarks/images.py --data FOLDER --out STEM [--sets digits,cifar5k] [--seeds 3]
        [--presets A,B] [--cpu-seconds 60]

k-NN and linear accuracy of each preset's encoder, untrained and trained for about the same CPU
time, the first step's probe not counted. Beside image-simclr stand the pixels and, where lightly is
installed, the same encoder from the same weights trained by lightly's SimCLR (its transform with
the same strengths, head and loss) for the CPU time that seqcl took. `cifar5k` is 5,000 training and
2,000 test images of CIFAR-10, packed as JPEG in FOLDER (docs/guide/images.md tells the form);
`digits` comes with scikit-learn, trains for a third of the time, and its views are not mirrored.
Only image-supcon sees labels while it trains. One thread; every set, preset and seed in a process
of its own; a stopped benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import table

from seqcl.batch import Embeddings
from seqcl.config.preset import Preset, load_preset, preset_names
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.files import atomic_write
from seqcl.modalities.image.baselines import Pixels
from seqcl.registry import registry
from seqcl.run.build import build_model, prepare
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed

Flat = dict[str, Any]
SETS = ("digits", "cifar5k")
MAIN = "image-simclr"
PRESETS = tuple(name for name in preset_names() if load_preset(name).modality.name == "image")
CPU = torch.device("cpu")
_PROBE = 10


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of cifar10_60k_jpeg.npz.xz")
    parser.add_argument("--out", type=Path, required=True, help="stem of the files to write")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--presets", default=",".join((MAIN, *(n for n in PRESETS if n != MAIN))))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cpu-seconds", type=float, default=60.0, help="of training, about")
    options = parser.parse_args()
    path = options.out.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    done = {(record["set"], record["preset"], record["seed"]) for record in records}
    context = multiprocessing.get_context("spawn")
    works = product(options.sets.split(","), options.presets.split(","), range(options.seeds))
    for name, preset, seed in works:
        if (name, preset, seed) in done:
            continue
        with context.Pool(1) as pool:
            work = (name, preset, seed, options.data, options.cpu_seconds)
            records += pool.apply(measure, work)
        atomic_write(path, json.dumps(records, indent=1) + "\n")
    text = table(summarise(records)) + "\n"
    atomic_write(options.out.with_suffix(".md"), text)
    print(text)


def measure(name: str, label: str, seed: int, data: Path | None, budget: float) -> list[Flat]:
    """Return a record for each system."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    preset = preset_of(label, name)
    budget = budget / 3 if name == "digits" else budget
    train, test = open_set(name, data, preset)
    untrained = build_model(preset, train.channels, None, seed)
    prepare(untrained, train, seed)

    def scores(system: str, pair: tuple[Embeddings, Embeddings], seconds: float) -> Flat:
        found: Flat = {"set": name, "preset": label, "system": system, "seed": seed}
        found["cpu_s"] = round(seconds, 1)
        for task in ("knn", "linear"):
            report = registry("evaluators")[task]()(pair[1], pair[0])
            found[f"{task}_accuracy"] = round(report.metrics["accuracy"], 4)
        print(found, flush=True)
        return found

    def both(model: Any) -> tuple[Embeddings, Embeddings]:
        return embed(model, train), embed(model, test)

    records = [scores("untrained", both(untrained), 0.0)]
    trained, seconds = train_seqcl(preset, train, seed, budget)
    records.append(scores("seqcl", both(trained), seconds))
    if label != MAIN:
        return records
    records.append(scores("pixels", Pixels()(train, test, seed), 0.0))
    if name != "digits" and find_spec("lightly"):
        model = build_model(preset, train.channels, None, seed)
        prepare(model, train, seed)
        seconds = train_lightly(model, train, seed, seconds, preset)
        records.append(scores("lightly", both(model), seconds))
    return records


def preset_of(label: str, name: str) -> Preset:
    """Return the preset; digits are not mirrored."""
    if name != "digits":
        return load_preset(label)
    views = load_preset(label).views.name
    key = "image_multi_crop" if views == "image_multi_crop" else "before.0"
    return load_preset(label, [f"views.{key}.flip=0"])


def open_set(name: str, data: Path | None, preset: Preset) -> tuple[Dataset, Dataset]:
    """Return training and test images."""
    if name == "digits":
        return tuple(open_dataset([f"sklearn:digits:{s}"], preset.data) for s in ("train", "test"))
    if data is None:
        raise SystemExit("cifar5k needs the folder of cifar10_60k_jpeg.npz.xz")
    packed = data / "cifar10_60k_jpeg.npz.xz"
    parts = []
    for split, count in (("train", 5_000), ("test", 2_000)):
        whole = open_dataset([f"{packed}:{split}"], preset.data)
        rows = np.random.default_rng(0).permutation(len(whole))[:count]
        parts.append(whole.subset(np.sort(rows)))
    return parts[0], parts[1]


def train_seqcl(preset: Preset, train: Dataset, seed: int, budget: float) -> tuple[Any, float]:
    """Train for about `budget` CPU seconds; returns the model and what it took."""

    def run(steps: int) -> tuple[Any, float]:
        training = replace(preset.training, steps=steps, epochs=None)
        chosen = replace(preset, training=training)
        parts = assemble(chosen, train, seed=seed, device=CPU)
        start = time.process_time()
        fit(parts)
        return parts.model, time.process_time() - start

    run(_PROBE)  # the first steps are slower
    _, probe = run(_PROBE)
    return run(max(_PROBE, round(_PROBE * budget / probe)))


def train_lightly(model: Any, train: Dataset, seed: int, budget: float, preset: Preset) -> float:
    """Train the model's encoder by lightly's SimCLR for `budget` CPU seconds."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from torchvision.transforms.functional import to_pil_image

    torch.manual_seed(seed)
    frontend, encoder = model.frontend, model.encoder
    size = train.size or (32, 32)
    statistics_of = {"mean": frontend.mean, "std": frontend.std}
    transform = SimCLRTransform(
        input_size=size[0], cj_strength=1.0, cj_bright=0.4, cj_contrast=0.4, cj_sat=0.4,
        cj_hue=0.1, min_scale=0.2, gaussian_blur=0.0,
        normalize={key: value.flatten().tolist() for key, value in statistics_of.items()},
    )  # fmt: skip
    pictures = [to_pil_image(torch.from_numpy(record.values)) for record in _records(train)]
    width = encoder.out_dim
    head = SimCLRProjectionHead(width, width, 128)
    loss = NTXentLoss(temperature=0.2)
    options = preset.training
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, options.lr, weight_decay=options.weight_decay)
    encoder.train()
    start, spent = time.process_time(), 0.0
    rows = torch.randperm(len(pictures))
    while spent < budget:
        if len(rows) < options.batch_size:
            rows = torch.randperm(len(pictures))
        chosen, rows = rows[: options.batch_size].tolist(), rows[options.batch_size :]
        views = [torch.stack(view) for view in zip(*(transform(pictures[row]) for row in chosen),
                                                   strict=True)]  # fmt: skip
        features = encoder.features(torch.cat(views), None, None).mean(2)
        total = loss(*head(features).chunk(2))
        optimizer.zero_grad()
        total.backward()
        # Warm-up, then half a cosine, as in seqcl, along the CPU time.
        part = spent / budget
        rise = min(1.0, part / options.warmup) if options.warmup else 1.0
        for group in optimizer.param_groups:
            group["lr"] = options.lr * rise * (1 + math.cos(math.pi * part)) / 2
        optimizer.step()
        spent = time.process_time() - start
    encoder.eval()
    return spent


def _records(dataset: Dataset) -> Iterator[Any]:
    return (dataset.record(row) for row in range(len(dataset)))


def summarise(records: list[Flat]) -> list[Flat]:
    """Return the means over the seeds."""
    groups: dict[tuple[str, str, str], list[Flat]] = {}
    for record in records:
        key = (record["set"], record["preset"], record["system"])
        groups.setdefault(key, []).append(record)
    rows = []
    for (name, preset, system), members in groups.items():
        row: Flat = {"set": name, "preset": preset, "system": system, "seeds": len(members)}
        for metric in ("knn_accuracy", "linear_accuracy", "cpu_s"):
            values = [member[metric] for member in members]
            row[metric] = round(statistics.mean(values), 3)
            if metric != "cpu_s" and len(values) > 1:
                row[metric] = f"{row[metric]:.3f} ± {statistics.stdev(values):.3f}"
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
