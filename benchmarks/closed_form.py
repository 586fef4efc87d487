"""What each part of the closed form is worth: kernels, views, ridge, dimensions, neighbours.

    python benchmarks/closed_form.py --data FOLDER --out STEM [--seeds 3] [--sets A,B] [--quick]

The default is the preset `series-instant`; every other row changes one thing. All is judged on a
third of the records of each class of the training parts, at most 600 records in all, so that what
is chosen by these figures has seen no test part; sets in which fewer than 10 would be judged are
left out. Features of a set and seed are computed once for all rows that share an encoder. Ridge
regression chooses scaling and penalty on what is left. Each set and seed runs in a process of its
own with one thread; a stopped benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import wilcoxon
from series import AEON, sources_of
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional as F

from seqcl.batch import Batch, Embeddings
from seqcl.config import load_preset
from seqcl.data.collate import collate_rows
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.embeddings.base import Embedding
from seqcl.encoders.base import Encoder
from seqcl.files import atomic_write
from seqcl.metrics.clustering import adjusted_rand
from seqcl.model import Model
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.run.build import build_model, prepare

PRESET = load_preset("series-instant")
AUGMENTATIONS = PRESET.views.options["before"]
METRICS = ("linear", "knn", "ari", "map")
MOST, FEWEST = 600, 10
"""Records of a training part that are taken, and of those that are judged."""
Flat = dict[str, Any]
Views = Callable[[Batch, int], list[Batch]]


def spectral(**options: Any) -> Spec[Embedding]:
    """Return the default embedding with other options."""
    return Spec("embeddings", "spectral", {**PRESET.embedding.options, **options})


def _rocket(**options: Any) -> Spec[Encoder]:
    return Spec("encoders", "rocket", options)


IDENTITY = Spec[Embedding]("embeddings", "identity")
EMBEDDINGS: dict[str, Spec[Embedding]] = {
    "default": spectral(),
    "kernels alone": IDENTITY,
    "principal components": Spec("embeddings", "whitening", {"power": 0.0}),
    "half whitened, no views": Spec("embeddings", "whitening", {"power": 0.5}),
    "whitened, no views": Spec("embeddings", "whitening", {"power": 1.0}),
    **{f"ridge {r:g}": spectral(ridge=r) for r in (0.01, 0.03, 0.1, 1.0, 3.0, 10.0)},
    "ridge by Ledoit and Wolf": spectral(ridge=None),
    **{f"{d} dimensions": spectral(dim=d) for d in (16, 32, 64, 128, 256)},
    **{f"{k} neighbours": spectral(neighbours=k) for k in (0, 1, 3, 5, 12)},
}
"""By row: those on the default features and views."""
ENCODERS: dict[str, Spec[Encoder]] = {
    "rocket": _rocket(),
    "hydra": Spec("encoders", "hydra"),
    "rocket, no differences": _rocket(differences=False, dilations=18),
    "rocket, counts alone": _rocket(statistics=()),
    "rocket, counts alone, no differences": _rocket(statistics=(), differences=False, dilations=18),
}
"""By row: other kernels; the same number of dilations over both inputs."""


def mixed(count: int, chain: Sequence[Any] = AUGMENTATIONS) -> Views:
    """Return what makes `count` views by all of `chain`."""

    def make(batch: Batch, seed: int) -> list[Batch]:
        views = Spec("views", "independent", {"views": count, "before": tuple(chain)}).build()
        return list(views(batch, Spec("frontends", "identity").build(1), Rng(seed)))

    return make


VIEWS: dict[str, Views] = {
    **{f"{n} views": mixed(n) for n in (1, 2, 8)},
    **{f"{spec.name} alone": mixed(4, [spec]) for spec in AUGMENTATIONS},
    **{
        f"without {spec.name}": mixed(4, [s for s in AUGMENTATIONS if s.name != spec.name])
        for spec in AUGMENTATIONS
    },
    **{
        f"with {name}": mixed(4, [*AUGMENTATIONS, Spec("augmentations", name, options)])
        for name, options in (("time_warp", {"strength": 0.1}), ("jitter", {"sigma": 0.03}))
    },
}
"""By row: other views."""


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of NAME_TRAIN.npz and NAME_TEST.npz")
    parser.add_argument("--out", type=Path, required=True, help="stem of the files to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default="", help="names, comma-separated; default: all")
    parser.add_argument("--quick", action="store_true", help="two small sets, one seed")
    options = parser.parse_args()
    own = sorted(options.data.glob("*_TRAIN.npz")) if options.data else []
    names = [path.name.removesuffix("_TRAIN.npz") for path in own] + [f"aeon:{n}" for n in AEON]
    if options.sets:
        names = options.sets.split(",")
    if options.quick:
        names, options.seeds = ["aeon:ArrowHead", "aeon:BasicMotions"], 1
    path = options.out.with_suffix(".json")
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    context = multiprocessing.get_context("spawn")
    for seed in range(options.seeds):
        for name in names:
            if any((r["set"], r["seed"]) == (name, seed) for r in records):
                continue
            with context.Pool(1) as pool:
                records += pool.apply(measure, (name, seed, str(options.data or "")))
            atomic_write(path, json.dumps(records, indent=0) + "\n")
            print(f"{name} seed {seed}", flush=True)
    atomic_write(options.out.with_suffix(".md"), summary(records))
    print(summary(records))


def measure(name: str, seed: int, folder: str) -> list[Flat]:
    """Return one flat record per row for one set and seed."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    sources = sources_of(name, folder)
    train, test = parted(open_dataset([sources[0]], PRESET.data), seed)
    if len(test) < FEWEST:
        print(f"{name}: {len(test)} records to judge, left out", flush=True)
        return []
    return [
        {"set": name, "seed": seed, "system": system, **scores}
        for system, scores in rows(train, test, seed)
    ]


def parted(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Return what is fitted to, and a third of the records of each class."""
    labels = np.array([str(label) for label in dataset.labels or ()])
    shuffled = np.random.default_rng(seed).permutation(len(dataset))[:MOST]
    judged: list[int] = []
    for label in np.unique(labels[shuffled]):
        own = shuffled[labels[shuffled] == label]
        judged += own[: max(1, len(own) // 3) if len(own) > 1 else 0].tolist()
    fitted = sorted(set(shuffled.tolist()) - set(judged))
    return dataset.subset(np.array(fitted)), dataset.subset(np.array(sorted(judged)))


def rows(train: Dataset, test: Dataset, seed: int) -> Iterator[tuple[str, Flat]]:
    """Yield the scores of every row."""
    judge = Judge(train, test)
    features = Features(train, test, seed, PRESET.encoder)
    pooled = features.pooled(mixed(4))
    for system, embedding in EMBEDDINGS.items():
        yield system, judge(features, embedding, pooled)
    for system, views in VIEWS.items():
        yield system, judge(features, spectral(), features.pooled(views))
    for system, encoder in ENCODERS.items():
        other = Features(train, test, seed, encoder)
        yield f"{system}, kernels alone", judge(other, IDENTITY, [])
        yield system, judge(other, spectral(), other.pooled(mixed(4)))


class Features:
    """A prepared model, and what its encoder gives for records and their views."""

    def __init__(self, train: Dataset, test: Dataset, seed: int, encoder: Spec[Encoder]) -> None:
        self.seed = seed
        self.model = self._model(train, encoder)
        self.train, self.batch = self._encode(train)
        self.test, _ = self._encode(test)

    def _model(self, train: Dataset, encoder: Spec[Encoder]) -> Model:
        preset = replace(PRESET, encoder=encoder, embedding=IDENTITY)
        model = build_model(preset, train.channels, train.rate_hz, self.seed)
        prepare(model, train, self.seed)
        return model.eval()

    @torch.no_grad()
    def _encode(self, dataset: Dataset) -> tuple[Tensor, Batch]:
        batch = collate_rows(dataset, np.arange(len(dataset)), self.model.collate())
        return self.model.encoder(batch).pooled, batch

    @torch.no_grad()
    def pooled(self, views: Views) -> list[Tensor]:
        """Return the features of the records and of their views, each (N, D)."""
        made = views(self.batch, self.seed)
        return [self.train, *(self.model.encoder(view).pooled for view in made)]


class Judge:
    """Scores of frozen embeddings of one set."""

    def __init__(self, train: Dataset, test: Dataset) -> None:
        self.train, self.test = train, test

    def __call__(self, features: Features, spec: Spec[Embedding], pooled: Sequence[Tensor]) -> Flat:
        """Fit the embedding to the views and judge it."""
        before = time.process_time()
        embedding = spec.build(features.train.shape[1])
        record = torch.arange(len(features.train)).repeat(len(pooled))
        for _ in range(embedding.passes):
            embedding.update(torch.cat(list(pooled)), record)
            if embedding.solve():
                break
        spent = time.process_time() - before
        kept = [embedding(x) for x in (features.train, features.test)]
        reference, test = (
            Embeddings(x.numpy(), tuple(d.ids), tuple(d.labels))
            for x, d in zip(kept, (self.train, self.test), strict=True)
        )
        found = {"dimensions": test.values.shape[1], "solve_s": round(spent, 3)}
        for task, key, options in (
            ("linear", "accuracy", {"probe": "ridge"}), ("knn", "accuracy", {}),
            ("retrieval", "map", {}),
        ):  # fmt: skip
            report = Spec("evaluators", task, options).build()(test, reference)
            found[{"retrieval": "map"}.get(task, task)] = round(report.metrics[key], 6)
        codes = np.unique([str(label) for label in test.labels or ()], return_inverse=True)[1]
        k_means = KMeans(int(codes.max()) + 1, n_init=10, random_state=0)
        clusters = k_means.fit_predict(F.normalize(torch.from_numpy(test.values)).numpy())
        found["ari"] = round(adjusted_rand(codes, clusters.astype(np.int64)), 6)
        return found


def summary(records: Sequence[Flat]) -> str:
    """Return one table: the mean over the sets, and the paired difference from the default."""
    systems = list(dict.fromkeys(r["system"] for r in records))
    sets = list(dict.fromkeys(r["set"] for r in records))
    seeds = len({r["seed"] for r in records})
    heads = [f"{metric} | minus default, wins : losses, p" for metric in METRICS]
    lines = [
        f"# The closed form, part by part: {len(sets)} sets, {seeds} seeds", "",
        f"| row | {' | '.join(heads)} | dimensions | solve, CPU-s |",
        f"|---|{'---|' * (2 * len(METRICS) + 2)}",
    ]  # fmt: skip
    for system in systems:
        cells = [
            text
            for metric in METRICS
            for text in _cells(
                _by_set(records, sets, system, metric), _by_set(records, sets, "default", metric)
            )
        ]
        cost = np.mean([r["solve_s"] for r in records if r["system"] == system])
        size = np.mean([r["dimensions"] for r in records if r["system"] == system])
        lines.append(f"| {system} | {' | '.join(cells)} | {size:,.0f} | {cost:.1f} |")
    worst = _by_set(records, sets, "default", "linear") - _by_set(
        records, sets, "kernels alone", "linear"
    )
    place = int(worst.argmin())
    told = f"Linear accuracy of the default minus its kernels alone, worst set: {sets[place]}"
    return "\n".join([*lines, "", f"{told} {worst[place]:+.3f}.", ""])


def _by_set(records: Sequence[Flat], sets: Sequence[str], system: str, metric: str) -> Any:
    return np.array([
        np.mean([r[metric] for r in records if (r["set"], r["system"]) == (name, system)])
        for name in sets
    ])  # fmt: skip


def _cells(values: Any, default: Any) -> tuple[str, str]:
    gap = np.round(values - default, 9)
    wins, losses = int((gap > 0).sum()), int((gap < 0).sum())
    if not wins + losses:
        return f"{values.mean():.4f}", "–"
    p = wilcoxon(gap[gap != 0]).pvalue
    return f"{values.mean():.4f}", f"{gap.mean():+.4f}, {wins} : {losses}, {p:.2g}"


if __name__ == "__main__":
    main()
