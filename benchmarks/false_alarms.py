"""False alarms of the detector, asked against observed: a threshold that stays, one that follows.

    python benchmarks/false_alarms.py --data FOLDER --out STEM [--seeds 3] [--sets A,B] [--quick]

FOLDER as in anomaly.py. The detector is fitted to the training rows of each file without labels;
the rows after are scored offline, and with trailing scores as on a stream. Each rate is asked of a
threshold that stays where the calibration slice puts it, whether that can promise it or not, and of
one that follows the scores (`seqcl detect --adaptive`). Of a share of rows those at or above the
threshold without a label are counted; of incidents those that begin farther than a window from a
labelled row. One a day is asked where there are time stamps, at most 10,000 a day.

A rate is kept where seen are half to twice as many as asked, if 10 or more were asked for, and else
where they lie in the 95 % interval of a Poisson count. Recall and precision are those of events,
labelled ones among them: a threshold that alarms always finds all. A stopped benchmark goes on
where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from anomaly import Case, Flat, cases, labelled
from measuring import table, table_options
from scipy.stats import poisson

from seqcl.detection.detector import MODES, Detector
from seqcl.detection.incidents import Following, Rules, release_for, trace_incidents
from seqcl.detection.rates import rows_per_day
from seqcl.detection.self_test import widened
from seqcl.detection.series import Series
from seqcl.files import atomic_write
from seqcl.metrics.events import event_scores
from seqcl.run.detecting import RuleOptions, rules_for

RATES: dict[str, tuple[str, float | None]] = {
    "0.5 % of rows": ("0.5%", None),
    "1 % of rows": ("1%", None),
    "5 % of rows": ("5%", None),
    "3 incidents in 1,000 rows": ("3/day", 1000),
    "10 incidents in 1,000 rows": ("10/day", 1000),
}
"""What is asked, and the rows of a day that makes it so."""
ENOUGH = 10
"""Alarms asked for from which a rate is kept within a factor of 2."""
Bools = npt.NDArray[np.bool_]


def main() -> None:
    """Run what is missing, then write STEM.json and STEM.md."""
    options = _options()
    torch.set_num_threads(1)
    path = options.out.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    records: list[Flat] = json.loads(path.read_text()) if path.is_file() else []
    done = {(r["file"], r["seed"]) for r in records}
    for case in cases(options.data):
        if options.sets and case.set not in options.sets.split(","):
            continue
        series = None
        for seed in range(options.seeds):
            if (case.name, seed) in done:
                continue
            series = series or labelled(case)
            records += measure(case, series, seed)
            print(case.set, case.name, seed, flush=True)
        atomic_write(path, json.dumps(records) + "\n")
    text = summarise(records)
    atomic_write(options.out.with_suffix(".md"), text)
    print(text)


def _options() -> argparse.Namespace:
    parser = table_options(__doc__, "folder with manifest.csv", sets="", quick="one seed")
    options = parser.parse_args()
    options.seeds = 1 if options.quick else options.seeds
    return options


def measure(case: Case, series: Series, seed: int) -> Iterator[Flat]:
    """Yield a flat record for each kind of scores, rate and threshold."""
    assert series.labels is not None
    values = series.values.astype(np.float32)
    detector = Detector()
    detector.fit([Series(values[: case.train_rows])], seed)
    labels = series.labels[case.train_rows :] > 0
    rates = dict(RATES)
    if (rows_a_day := rows_per_day(times=series.times)) is not None and rows_a_day < 10_000:
        rates["1 incident a day"] = ("1/day", rows_a_day)
    for mode in MODES:
        scores = detector.score(values, causal=mode == "trailing").fused[case.train_rows :]
        calibration = detector.calibrations[mode]
        for name, (far, day) in rates.items():
            follows = rules_for(calibration, RuleOptions(far=far, adaptive=True), day)
            release = release_for(calibration, follows.threshold)
            stays = replace(follows, following=None, release=release)
            for threshold, rules in (("stays", stays), ("follows", follows)):
                judged = judge(scores, labels, rules, follows.following, detector.window)
                yield {
                    "set": case.set, "file": case.name, "seed": seed, "scores": mode,
                    "rate": name, "threshold": threshold, **judged,
                }  # fmt: skip


def judge(
    scores: npt.NDArray[np.float32],
    labels: Bools,
    rules: Rules,
    asked: Following | None,
    window: int,
) -> Flat:
    """Return how many false alarms were asked for and seen, and what was found."""
    assert asked is not None
    incidents, thresholds = trace_incidents(scores, rules)
    alarms = np.zeros(len(scores), np.bool_)
    for one in incidents:
        alarms[one.start : one.end + 1] = True
    normal = ~labels & ~np.isnan(scores)
    seen = int((scores >= thresholds)[normal].sum())
    if asked.counts == "incidents":
        near = widened(labels, window)
        seen = sum(not near[one.start] for one in incidents)
    events = event_scores(labels, alarms, tolerance=window)
    return {
        "asked": round(asked.rate * int(normal.sum()), 3), "seen": seen,
        "recall": round(events.recall, 4), "precision": round(events.precision, 4),
        "under_alarm": round(events.false_share, 4),
    }  # fmt: skip


def is_kept(record: Flat) -> bool:
    """Return whether as many false alarms were seen as were asked for."""
    asked, seen = record["asked"], record["seen"]
    if asked >= ENOUGH:
        return bool(asked / 2 <= seen <= 2 * asked)
    low, high = poisson.ppf([0.025, 0.975], asked)
    return bool(low <= seen <= high)


def summarise(records: Sequence[Flat]) -> str:
    """Return a table as Markdown: a row for each kind of scores, rate and threshold."""
    kinds = dict.fromkeys((r["scores"], r["rate"], r["threshold"]) for r in records)
    rows = []
    for kind in sorted(kinds, key=lambda kind: MODES[::-1].index(kind[0])):
        own = [r for r in records if (r["scores"], r["rate"], r["threshold"]) == kind]
        seeds = sorted({r["seed"] for r in own})
        kept = [np.mean([is_kept(r) for r in own if r["seed"] == seed]) for seed in seeds]
        rows.append({
            **dict(zip(("scores", "asked", "threshold"), kind, strict=True)),
            "runs": len(own),
            "seen / asked, median": f"{np.median([r['seen'] / r['asked'] for r in own]):.2f}",
            "in all": f"{sum(r['seen'] for r in own) / sum(r['asked'] for r in own):.2f}",
            "kept": f"{np.mean(kept):.0%} ± {100 * np.std(kept):.0f}",
            "recall": f"{np.nanmean([r['recall'] for r in own]):.2f}",
            "precision": f"{np.nanmean([r['precision'] for r in own]):.2f}",
            "normal rows in incidents": f"{np.nanmean([r['under_alarm'] for r in own]):.1%}",
        })  # fmt: skip
    files, count = (len({r[key] for r in records}) for key in ("file", "seed"))
    return f"# False alarms: asked and seen, {files} files, {count} seeds\n\n{table(rows)}\n"


if __name__ == "__main__":
    main()
