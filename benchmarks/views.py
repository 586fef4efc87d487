"""Views of a batch at once against the same views made record by record in numpy.

    python benchmarks/views.py --out benchmarks/results/views [--sets 256x3x256] [--quick]

CPU time of one thread, systems interleaved, median of the repeats. `share_of_step` is what the
views take of a training step (forward and backward of both views) with an encoder of half a
million parameters.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqcl.batch import Batch
from seqcl.registry import Spec, registry
from seqcl.rng import Rng
from seqcl.views.base import ViewGenerator
from seqcl.views.frontend import IdentityFrontend

Floats = npt.NDArray[np.float32]
Random = np.random.Generator

SETS = {
    "256x3x256": (256, 3, 256),
    "256x3x256 ragged": (256, 3, 256),
    "64x1x128": (64, 1, 128),
    "128x9x128": (128, 9, 128),
    "32x1x2000": (32, 1, 2000),
}
STRONG: dict[str, dict[str, Any]] = {
    "crop": {"fraction": (0.7, 1.0)},
    "time_warp": {"strength": 0.1, "knots": 4},
    "scale": {"factor": (0.8, 1.2)},
    "jitter": {"sigma": 0.05},
    "time_mask": {"fraction": 0.2, "spans": 2},
}
JITTER = {"jitter": STRONG["jitter"]}


def generators() -> dict[str, ViewGenerator]:
    """Return the recipes in seqcl."""

    def build(name: str, chain: dict[str, dict[str, Any]], **options: Any) -> ViewGenerator:
        steps = tuple(Spec("augmentations", step, options) for step, options in chain.items())
        generator: ViewGenerator = registry("views")[name](before=steps, **options)
        return generator

    return {
        "independent, 2 views, 5 augmentations": build("independent", STRONG),
        "overlapping, jitter": build("overlapping", JITTER),
        "multi_crop, 2 + 4 views, jitter": build("multi_crop", JITTER),
    }


# The same views of one record (C, L) in numpy, as a data set's __getitem__ would make them.


def read(record: Floats, positions: npt.NDArray[np.float64]) -> Floats:
    """Interpolate all channels at once."""
    left = positions.astype(np.intp)
    right = np.minimum(left + 1, record.shape[1] - 1)
    weight = (positions - left).astype(np.float32)
    before = record[:, left]
    return before + weight * (record[:, right] - before)


def strong(record: Floats, random: Random) -> Floats:
    """Crop and warp with one interpolation, scale, jitter, mask."""
    channels, length = record.shape
    last = length - 1
    fraction = random.uniform(0.7, 1.0)
    speed = np.exp(0.1 * random.standard_normal(4))
    local = np.interp(np.arange(last) + 0.5, np.linspace(0, last, 4), speed)
    path = np.concatenate(([0.0], np.cumsum(local)))
    path *= last / max(path[-1], 1e-9)
    view = read(record, random.uniform() * (1 - fraction) * last + fraction * path)
    view *= random.uniform(0.8, 1.2, (channels, 1)).astype(np.float32)
    view += 0.05 * random.standard_normal((channels, length), np.float32)
    for _ in range(2):
        start = round(random.uniform() * 0.9 * length)
        view[:, start : start + round(0.1 * length)] = 0
    return view


def jittered(record: Floats, random: Random) -> Floats:
    """Add noise."""
    return record + 0.05 * random.standard_normal(record.shape, np.float32)


def independent(records: list[Floats], random: Random) -> Iterator[list[Floats]]:
    """Two views of every record."""
    for _ in range(2):
        yield [strong(record, random) for record in records]


def overlapping(records: list[Floats], random: Random) -> Iterator[list[Floats]]:
    """Two crops of every record that share a stretch, drawn for the batch as in TS2Vec."""
    common, place, left, right = random.uniform(0.2, 0.8), *random.uniform(size=3)
    left, right = (1 - common) * place * left, (1 - common) * (1 - place) * right
    crops: list[list[Floats]] = [[], []]
    for record in records:
        length = record.shape[1]
        cuts = [int(part * length) for part in (left, left + common, left + common + right)]
        start = int(random.integers(length - cuts[2] + 1))
        crops[0].append(jittered(record[:, start : start + cuts[1]], random))
        crops[1].append(jittered(record[:, start + cuts[0] : start + cuts[2]], random))
    yield from crops


def multi_crop(records: list[Floats], random: Random) -> Iterator[list[Floats]]:
    """Two long and four short crops of every record."""
    for fraction in (0.8, 0.8, 0.4, 0.4, 0.4, 0.4):
        view = []
        for record in records:
            steps = max(1, int(fraction * record.shape[1]))
            start = int(random.integers(record.shape[1] - steps + 1))
            view.append(jittered(record[:, start : start + steps], random))
        yield view


NUMPY = dict(zip(generators(), (independent, overlapping, multi_crop), strict=True))


def by_record(recipe: str, batch: Batch, random: Random) -> list[torch.Tensor]:
    """Make views record by record and stack them, padded where lengths differ."""
    values = batch.values.numpy()
    lengths = batch.host_lengths or (values.shape[2],) * len(values)
    records = [row[:, :length] for row, length in zip(values, lengths, strict=True)]
    stacked = []
    for view in NUMPY[recipe](records, random):
        out = np.zeros((*values.shape[:2], max(row.shape[1] for row in view)), np.float32)
        for target, row in zip(out, view, strict=True):
            target[:, : row.shape[1]] = row
        stacked.append(torch.from_numpy(out))
    return stacked


def make_batch(name: str) -> Batch:
    """Return noise of the shape that `name` says."""
    rows, channels, steps = SETS[name]
    values = torch.randn(rows, channels, steps, generator=torch.Generator().manual_seed(0))
    if not name.endswith("ragged"):
        return Batch(values, torch.arange(rows))
    host = tuple(np.random.default_rng(0).integers(steps // 2, steps + 1, rows).tolist())
    lengths = torch.tensor(host)
    mask = torch.arange(steps) < lengths[:, None]
    return Batch(
        values * mask[:, None], torch.arange(rows), lengths=lengths, host_lengths=host, mask=mask
    )


def cpu_ms(run: Callable[[], object]) -> float:
    """Return the CPU time of this thread, which other processes do not lengthen."""
    start = time.thread_time()
    run()
    return (time.thread_time() - start) * 1e3


def encoder_ms(batch: Batch) -> float:
    """Return forward and backward of both views of a batch, scaled up from 32 records."""
    encoder = registry("encoders")["conv1d"](batch.values.shape[1], widths=(128, 224, 192))
    part = batch[0:32]
    times = [cpu_ms(lambda: encoder(part).pooled.square().sum().backward()) for _ in range(4)]
    return min(times[1:]) * 2 * len(batch) / len(part)


def measure(name: str, repeats: int) -> Iterator[dict[str, Any]]:
    """Time every recipe on one set, the two systems in turn."""
    batch = make_batch(name)
    frontend = IdentityFrontend(batch.values.shape[1])
    training = encoder_ms(batch)
    for recipe, generator in generators().items():
        systems: dict[str, Callable[[int], object]] = {
            "seqcl": lambda step, make=generator: make(batch, frontend, Rng(0, step)),
            "numpy": lambda step, name=recipe: by_record(name, batch, np.random.default_rng(step)),
        }
        times: dict[str, list[float]] = {system: [] for system in systems}
        for step in range(repeats + 1):
            for system, run in systems.items():
                times[system].append(cpu_ms(lambda run=run, step=step: run(step)))
        for system, found in times.items():
            spent = statistics.median(found[1:])
            yield {
                "set": name,
                "views": recipe,
                "system": system,
                "ms": round(spent, 3),
                "records_per_s": round(len(batch) / spent * 1e3),
                "share_of_step": round(spent / (spent + training), 4),
                "times_numpy": round(statistics.median(times["numpy"][1:]) / spent, 2),
            }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the records as a Markdown table."""
    head = list(rows[0])
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(str(row[key]) for key in head) for row in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def main() -> None:
    """Measure, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="stem of the .md and .json to write")
    parser.add_argument("--sets", default=",".join(SETS), help="records x channels x steps")
    parser.add_argument("--quick", action="store_true", help="3 repeats instead of 31")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.zeros(2**22)  # freed at once, so that the allocator keeps its pages, as in training
    names = options.sets.split(",")
    rows = [row for name in names for row in measure(name, 3 if options.quick else 31)]
    print(table(rows))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".md").write_text(table(rows))
        options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
