"""Sensor anomalies: the detector against classical baselines, one default configuration for all.

    python benchmarks/anomaly.py --data FOLDER --out STEM [--seeds 3] [--sets A,B] [--quick]

FOLDER holds manifest.csv (set, file, train_rows) and the files it names: an optional timestamp,
the channels, and `label` last. Or it holds files of the public TSB-AD benchmark, whose names tell
where the training rows end (`..._tr_1000_...`) and whose last column is Label; each is then of the
set that the third part of its name says. Every system is fitted to the training rows without
labels and scores the whole file; the rows after are judged: VUS-PR and VUS-ROC (window = the first
channel's period, 250 thresholds), average precision, and for the detector events at its own
threshold and the false-alarm rate that was asked for against the one observed. A stopped benchmark
goes on where it was. `--ablations` fits one detector with all scorers instead, those of the default
and options, and judges what parts of it say, each with weights of its own from the same self-test.

`published recipe` is a contrastive encoder of instance-normalised windows trained by triplets, with
a memory bank (PaAno), beside median/MAD and mean shift (PAI), all of equal weight. `matrix profile`
is the distance of each window from the nearest of training, z-normalised, mean over channels; it
needs stumpy. `random` scores mean nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from measuring import table_options
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.neural_network import MLPRegressor

from seqcl.data.dataset import open_dataset
from seqcl.data.options import DataOptions
from seqcl.detection.detector import Detector, default_scorers
from seqcl.detection.fusion import balanced_weights
from seqcl.detection.incidents import Rules, find_incidents
from seqcl.detection.period import period_of
from seqcl.detection.series import Series, filled, series_of
from seqcl.files import atomic_write
from seqcl.metrics.events import event_scores
from seqcl.metrics.range_auc import volumes
from seqcl.registry import Spec

Floats = npt.NDArray[np.float64]
Flat = dict[str, Any]
SHARE = 0.005
"""False alarms that are asked for where the calibration data can promise them."""


@dataclass(frozen=True)
class Case:
    """One file of the benchmark."""

    set: str
    name: str
    path: Path
    train_rows: int


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    options = _options()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    path = options.out.with_suffix(".json")
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    done = {(r["file"], r["system"], r["seed"]) for r in records}
    for case in cases(options.data):
        if options.sets and case.set not in options.sets.split(","):
            continue
        for found in _measured(case, options, done):
            records += found
            print(*list(found[0].values())[:5], flush=True)
        atomic_write(path, json.dumps(records, indent=1) + "\n")
    text = summarise(records)
    atomic_write(options.out.with_suffix(".md"), text)
    print(text)


def _measured(
    case: Case, options: argparse.Namespace, done: set[tuple[str, str, int]]
) -> Iterator[list[Flat]]:
    """Yield the records that are missing of a file, which is read where there are any."""
    series = cache(partial(labelled, case))
    if options.ablations:
        for seed in range(options.seeds):
            if missing := [name for name in ABLATIONS if (case.name, name, seed) not in done]:
                yield [one for one in ablated(case, series(), seed) if one["system"] in missing]
        return
    for system, seed, run in _runs(options):
        if (case.name, system, seed) not in done:
            yield [measure(case, series(), system, seed, run)]


def _options() -> argparse.Namespace:
    parser = table_options(
        __doc__, "folder with manifest.csv", sets="", quick="one seed, no slow baseline"
    )
    parser.add_argument(
        "--ablations", action="store_true", help="parts of the detector left out, and alone"
    )
    options = parser.parse_args()
    if options.quick:
        options.seeds = 1
    return options


def cases(folder: Path) -> Iterator[Case]:
    """Yield the files of a manifest, or of TSB-AD's naming."""
    manifest = folder / "manifest.csv"
    if manifest.is_file():
        with manifest.open() as file:
            for row in csv.DictReader(file):
                yield Case(
                    row["set"], row["file"], folder / row["file"], int(row["train_rows"])
                )  # fmt: skip
        return
    for path in sorted(folder.glob("*.csv")):
        if found := re.search(r"_tr_(\d+)_", path.name):
            yield Case(path.name.split("_")[1], path.name, path, int(found[1]))


def labelled(case: Case) -> Series:
    """Read a file with its labels."""
    with case.path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    label = "label" if zipped or "Label" not in case.path.open().readline() else "Label"
    data = open_dataset([str(case.path)], DataOptions(label=label, max_steps=1 << 40))
    return next(iter(series_of(data)))


def _runs(options: argparse.Namespace) -> Iterator[tuple[str, int, Callable[..., Any]]]:
    for seed in range(options.seeds):
        yield "seqcl", seed, detector_of()
        yield "random", seed, _random
        yield "isolation forest", seed, _forest
        if not options.quick:
            yield "auto-encoder", seed, _auto_encoder
            yield "published recipe", seed, _plain(detector_of(scorers=RECIPE, weights="equal"))
    for name, run in (("point", _point), ("window k-NN", _knn), ("LOF", _lof), ("PCA", _pca)):
        yield name, 0, run
    if find_spec("stumpy"):
        yield "matrix profile", 0, _matrix_profile


RECIPE = (
    Spec(
        "scorers",
        "contrastive",
        {"objective": "triplet", "inject": False, "scores": ("nearest",)},
    ),
    Spec("scorers", "mean_shift"),
    Spec("scorers", "amplitude"),
)


_LEARNT = next(spec for spec in default_scorers(1) if spec.name == "contrastive")
_BANKS, _OTHERS = ("nearest", "prototype"), ("forecast", "hidden_row", "pca")
_MORE: dict[str, Spec[Any]] = {
    "not_injected": Spec(
        "scorers", "contrastive", {**_LEARNT.options, "inject": False, "scores": ("learnt",)}
    ),
    **{name: Spec("scorers", "contrastive", {"scores": (name,)}) for name in _BANKS},
    **{name: Spec("scorers", name) for name in _OTHERS},
}
_KERNELS, _PLAIN = ("kernel_distance",), ("mean_shift", "amplitude")
_LEARNING = ("contrastive", "each_channel")
_ALL = (*_KERNELS, *_LEARNING, *_PLAIN)
ABLATIONS: dict[str, tuple[str, ...]] = {
    "all of the default": _ALL,
    "equal weights": _ALL,
    "without encoders": (*_KERNELS, *_PLAIN),
    "without the encoder of all channels": (*_KERNELS, "each_channel", *_PLAIN),
    "without the encoder of each channel": (*_KERNELS, "contrastive", *_PLAIN),
    "that, nothing injected": (*_KERNELS, "not_injected", *_PLAIN),
    "without the kernels": (*_LEARNING, *_PLAIN),
    "without mean shift and amplitude": (*_KERNELS, *_LEARNING),
    "encoders alone": _LEARNING,
    "encoder of all channels alone": ("contrastive",),
    "that alone, nothing injected": ("not_injected",),
    "kernels alone": _KERNELS,
    "mean shift alone": ("mean_shift",),
    "amplitude alone": ("amplitude",),
    **{f"with {name}": (*_ALL, name) for name in (*_BANKS, *_OTHERS)},
}


class _Whole(Detector):
    """A detector with every scorer, that keeps what it weighed them by."""

    def __init__(self, channels: int) -> None:
        super().__init__(scorers=(*default_scorers(channels), *_MORE.values()))
        self.held = (*(spec.name for spec in default_scorers(channels)), *_MORE)

    def self_test(self, *args: Any) -> tuple[Floats, npt.NDArray[np.bool_]]:
        self.tested = super().self_test(*args)
        return self.tested


def ablated(case: Case, series: Series, seed: int) -> list[Flat]:
    """Return a flat record for each part of one detector."""
    begun = time.process_time()
    detector = _Whole(series.values.shape[1])
    detector.fit([Series(series.values[: case.train_rows])], seed)
    parts = detector.score(series.values).parts.astype(np.float64)
    seconds = time.process_time() - begun
    held = np.repeat(detector.held, [len(scorer.names) for scorer in detector.scorers])
    rows, labels = detector.tested
    records = []
    for name, kept in ABLATIONS.items():
        columns = np.isin(held, kept)
        weights = np.ones(columns.sum())
        if name != "equal weights":
            weights = balanced_weights(rows[:, columns], labels)
        fused = parts[:, columns] @ weights
        records.append(judged(case, series, name, seed, fused, seconds))
    return records


def measure(case: Case, series: Series, system: str, seed: int, run: Callable[..., Any]) -> Flat:
    """Return one flat record."""
    train = series.values[: case.train_rows]
    begun = time.process_time()
    scores, more = run(train, series.values, seed)
    record = judged(case, series, system, seed, scores, time.process_time() - begun)
    if more is not None:
        labels, test = _judged_rows(case, series, scores)
        record |= _alarms(more, labels, test, len(test))
    return record


def judged(
    case: Case, series: Series, system: str, seed: int, scores: Floats, seconds: float
) -> Flat:
    """Return what scores of a whole file are worth on the rows after the training ones."""
    labels, test = _judged_rows(case, series, scores)
    found = volumes(labels, test, period_of([series.values[: case.train_rows, :1]]))
    return {
        "set": case.set, "system": system, "seed": seed, "vus_pr": round(found.pr, 6),
        "file": case.name, "vus_roc": round(found.roc, 6),
        "ap": round(float(average_precision_score(labels, test)), 6), "cpu_s": round(seconds, 2),
    }  # fmt: skip


def _judged_rows(
    case: Case, series: Series, scores: Floats
) -> tuple[npt.NDArray[np.bool_], Floats]:
    assert series.labels is not None
    return series.labels[case.train_rows :] > 0, scores[case.train_rows :]


def detector_of(**changes: Any) -> Callable[..., tuple[Floats, Detector]]:
    """Return a system that fits our detector."""

    def run(train: Floats, values: Floats, seed: int) -> tuple[Floats, Detector]:
        detector = Detector(**changes)
        detector.fit([Series(train.astype(np.float32))], seed)
        return detector.score(values.astype(np.float32)).fused.astype(np.float64), detector

    return run


def _plain(run: Callable[..., Any]) -> Callable[..., Any]:
    """Leave out what is measured of our detector alone."""
    return lambda train, values, seed: (run(train, values, seed)[0], None)


def _alarms(detector: Detector, labels: npt.NDArray[np.bool_], test: Floats, rows: int) -> Flat:
    """Return events at the default threshold, and asked against observed false alarms."""
    calibration = detector.calibrations["centred"]
    usual = calibration.shares.score_at(SHARE)
    alarms = np.zeros(rows, np.bool_)
    for one in find_incidents(test, Rules(usual, merge_gap=max(0, calibration.run - 1))):
        alarms[one.start : one.end + 1] = True
    events = event_scores(labels, alarms, tolerance=detector.window)
    record: Flat = {"event_recall": events.recall, "event_precision": events.precision}
    asked = max(SHARE, calibration.lowest_share)
    if asked < 0.5:
        normal = test[~labels]
        observed = float((normal >= calibration.threshold(asked)).mean())
        record |= {"promised": round(asked, 5), "observed": round(observed, 5)}
    return record


def _random(train: Floats, values: Floats, seed: int) -> tuple[Floats, None]:
    return np.random.default_rng(seed).random(len(values)), None


def _scaled(train: Floats, values: Floats) -> tuple[Floats, Floats]:
    mean, deviation = np.nanmean(train, 0), np.nanstd(train, 0)
    deviation = np.where(deviation > 1e-9 * np.maximum(1, np.abs(mean)), deviation, 1.0)

    def scale(rows: Floats) -> Floats:
        held = filled(rows.astype(np.float32), mean.astype(np.float32)).astype(np.float64)
        return np.asarray(np.clip((held - mean) / deviation, -20, 20))

    return scale(train), scale(values)


def _point(train: Floats, values: Floats, seed: int) -> tuple[Floats, None]:
    return np.abs(_scaled(train, values)[1]).max(1), None


def _windows(train: Floats, values: Floats) -> tuple[Floats, Floats, Callable[[Floats], Floats]]:
    """Return windows of both, at most 300 principal axes of them, and how scores are spread."""
    window = min(period_of([train[:, :1]]), len(train) // 3)
    scaled = _scaled(train, values)
    first, second = (
        np.lib.stride_tricks.sliding_window_view(rows, window, axis=0).reshape(
            len(rows) - window + 1, -1
        )
        for rows in scaled
    )
    bank = first[:: max(1, len(first) // 4_000)]
    if bank.shape[1] > 300:
        axes = PCA(min(300, len(bank) - 1), random_state=0).fit(bank)
        bank, second = axes.transform(bank), axes.transform(second)
    counts = np.convolve(np.ones(len(second)), np.ones(window))
    return bank, second, lambda found: np.convolve(found, np.ones(window)) / counts


def _knn(train: Floats, values: Floats, seed: int) -> tuple[Floats, None]:
    bank, windows, spread = _windows(train, values)
    near = NearestNeighbors(n_neighbors=3).fit(bank)
    return spread(near.kneighbors(windows)[0].mean(1)), None


def _lof(train: Floats, values: Floats, seed: int) -> tuple[Floats, None]:
    bank, windows, spread = _windows(train, values)
    found = LocalOutlierFactor(n_neighbors=min(20, len(bank) - 1), novelty=True).fit(bank)
    return spread(-found.score_samples(windows)), None


def _pca(train: Floats, values: Floats, seed: int) -> tuple[Floats, None]:
    bank, windows, spread = _windows(train, values)
    axes = PCA(0.95, random_state=0).fit(bank)
    rest = windows - axes.inverse_transform(axes.transform(windows))
    return spread(np.sqrt(np.square(rest).sum(1))), None


def _forest(train: Floats, values: Floats, seed: int) -> tuple[Floats, None]:
    bank, windows, spread = _windows(train, values)
    return spread(-IsolationForest(random_state=seed).fit(bank).score_samples(windows)), None


def _auto_encoder(train: Floats, values: Floats, seed: int) -> tuple[Floats, None]:
    bank, windows, spread = _windows(train, values)
    net = MLPRegressor(hidden_layer_sizes=(64, 8, 64), random_state=seed, max_iter=60).fit(
        bank, bank
    )
    rest = windows - net.predict(windows).reshape(windows.shape)
    return spread(np.sqrt(np.square(rest).sum(1))), None


def _matrix_profile(train: Floats, values: Floats, seed: int) -> tuple[Floats, None]:
    from stumpy import stump

    window = max(4, min(period_of([train[:, :1]]), len(train) // 3))
    first, second = _scaled(train, values)
    found = np.mean(
        [
            np.asarray(stump(b, window, a, ignore_trivial=False)[:, 0], np.float64)
            for a, b in zip(first.T.copy(), second.T.copy(), strict=True)
        ],
        0,
    )
    torch.set_num_threads(1)  # numba's is OpenMP's, and so torch's
    counts = np.convolve(np.ones(len(found)), np.ones(window))
    return np.convolve(found, np.ones(window)) / counts, None


def summarise(records: Sequence[Flat]) -> str:
    """Return tables as Markdown: VUS-PR by set and system, then what was asked and observed."""
    sets = list(dict.fromkeys(r["set"] for r in records))
    systems = list(dict.fromkeys(r["system"] for r in records))
    lines = ["VUS-PR, mean over the files of a set and over seeds (± deviation over seeds)", ""]
    lines += [f"| system | {' | '.join(sets)} | macro | AP | CPU-s a file |"]
    lines += ["|---|" + "---:|" * (len(sets) + 3)]
    for system in systems:
        own = [r for r in records if r["system"] == system]
        seeds = sorted({r["seed"] for r in own})
        table = np.array([[_mean(own, name, seed, "vus_pr") for name in sets] for seed in seeds])
        cells = [_cell(column) for column in table.T] + [_cell(table.mean(1))]
        precision = np.mean([_mean(own, name, None, "ap") for name in sets])
        seconds = np.mean([r["cpu_s"] for r in own])
        lines.append(f"| {system} | {' | '.join(cells)} | {precision:.3f} | {seconds:.1f} |")
    if "seqcl" in systems:
        lines += ["", *_promises(records, sets)]
    return "\n".join(lines) + "\n"


def _promises(records: Sequence[Flat], sets: Sequence[str]) -> Iterator[str]:
    yield "False alarms of the detector, share of normal rows: the lowest rate that the calibration"
    yield "data support (0.5 % at least), and what was observed; nothing is promised above 50 %"
    yield ""
    yield "| set | runs | promised | rate promised, median | observed, median | at most twice |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name in sets:
        own = [r for r in records if r["set"] == name and r["system"] == "seqcl"]
        able = [r for r in own if "promised" in r]
        if not able:
            yield f"| {name} | {len(own)} | 0 | – | – | – |"
            continue
        kept = np.mean([r["observed"] <= 2 * r["promised"] for r in able])
        asked, seen = (np.median([r[key] for r in able]) for key in ("promised", "observed"))
        yield f"| {name} | {len(own)} | {len(able)} | {asked:.2%} | {seen:.2%} | {kept:.0%} |"


def _mean(records: Sequence[Flat], name: str, seed: int | None, key: str) -> float:
    return float(
        np.mean([r[key] for r in records if r["set"] == name and seed in (None, r["seed"])])
    )


def _cell(values: Floats) -> str:
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"


if __name__ == "__main__":
    main()
