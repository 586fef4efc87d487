"""Judge a detector on recordings whose rows are labelled, beside plain scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.data.dataset import Dataset
from seqcl.data.source import Skipped
from seqcl.detection.detector import Detector
from seqcl.detection.incidents import find_incidents
from seqcl.detection.rates import rows_per_day
from seqcl.detection.series import Series, series_of
from seqcl.errors import DataError
from seqcl.evaluation.bootstrap import bootstrap_interval, resample_counts
from seqcl.metrics.affiliation import affiliation
from seqcl.metrics.average_precision import average_precision
from seqcl.metrics.events import event_scores, point_adjusted_f1
from seqcl.metrics.range_auc import volumes
from seqcl.run.build import threads
from seqcl.run.detecting import RuleOptions, rules_for
from seqcl.run.detector_run import open_for_detector
from seqcl.run.folder import Run

__all__ = ["Judgement", "judge"]

Floats = npt.NDArray[np.float64]

_FEWEST, _RESAMPLES = 5, 2_000
"""Recordings from which there is an interval, and how often they are drawn for it."""


@dataclass(frozen=True)
class Judgement:
    """What one system's scores of all recordings are worth, a mean over them."""

    system: str
    vus_pr: float
    vus_roc: float
    average_precision: float
    event_recall: float | None = None
    """At the detector's own threshold, as the other three; None for a control, which has none."""
    event_precision: float | None = None
    affiliation_f1: float | None = None
    delay: float | None = None
    """Median rows from an anomaly's start to its alarm."""
    vus_pr_low: float | None = None
    """95 % of bootstrap means over the recordings lie from here; None for fewer than five."""
    vus_pr_high: float | None = None
    point_adjusted_f1: float | None = None
    """Only where it is asked for: random scores get a high one, too."""


def judge(
    run: Run,
    sources: Sequence[str],
    options: RuleOptions = RuleOptions(),  # noqa: B008 - frozen
    *,
    point_adjusted: bool = False,
    overrides: Sequence[str] = (),
    cpu_threads: int | None = None,
) -> tuple[tuple[Judgement, ...], Dataset]:
    """Return the judgements of the detector, of its amplitude alone, and of random scores.

    VUS is taken with the detector's window. Raises DataError where no row is labelled anomalous;
    recordings without an anomaly are left out, and rows whose label is unknown (below 0). One that
    cannot be scored joins `skipped` of the dataset; DataError where none can.
    """
    detector, dataset = open_for_detector(run, sources, overrides)
    rows: list[dict[str, Judgement]] = []
    before = len(dataset.skipped)
    with threads(cpu_threads):
        for number, series in enumerate(series_of(dataset)):
            if series.labels is None or not (series.labels > 0).any():
                continue
            try:
                found = list(_systems(detector, series, options, number, point_adjusted))
            except DataError as error:
                dataset.skipped += (Skipped(series.id, str(error)),)
            else:
                rows.append({one.system: one for one in found})
    if not rows and (skipped := dataset.skipped[before:]):
        raise DataError(f"{skipped[0].path}: {skipped[0].reason}")
    if not rows:
        named = any(one.labels is not None for one in series_of(dataset))
        cure = "give others" if named else "set data.label to the column of labels 0 and 1"
        raise DataError(f"{' '.join(sources)}: no row is labelled anomalous (1); {cure}")
    systems = (_mean([row[system] for row in rows]) for system in rows[0])
    return tuple(systems), dataset


def _systems(
    detector: Detector, series: Series, options: RuleOptions, number: int, adjusted: bool
) -> Iterator[Judgement]:
    assert series.labels is not None
    known = series.labels >= 0
    labels = series.labels[known] > 0
    scores = detector.score(series.values)
    rows_a_day = rows_per_day(rate_hz=series.rate_hz, times=series.times)
    rules = rules_for(detector.calibrations["centred"], options, rows_a_day)
    alarms = np.zeros(len(series), np.bool_)
    for one in find_incidents(scores.fused, rules):
        alarms[one.start : one.end + 1] = True
    alarms = alarms[known]
    events = event_scores(labels, alarms, tolerance=detector.window)
    yield _judged(
        "seqcl", labels, scores.fused[known], detector.window, adjusted,
        event_recall=events.recall, event_precision=events.precision,
        affiliation_f1=affiliation(labels, alarms)[2], delay=events.delay,
    )  # fmt: skip
    distance = detector.scaling(series.values).abs().amax(1).numpy()
    yield _judged("largest deviation", labels, distance[known], detector.window, adjusted)
    drawn = np.random.default_rng(number).random(len(series))
    yield _judged("random", labels, drawn[known], detector.window, adjusted)


def _judged(
    system: str,
    labels: npt.NDArray[np.bool_],
    scores: npt.ArrayLike,
    window: int,
    adjusted: bool,
    **more: float,
) -> Judgement:
    values = np.asarray(scores, np.float64)
    found = volumes(labels, values, window)
    if adjusted:
        more["point_adjusted_f1"] = point_adjusted_f1(labels, values)
    return Judgement(system, found.pr, found.roc, average_precision(labels, values), **more)


def _mean(rows: Sequence[Judgement]) -> Judgement:
    """Return means over the recordings in which something could be counted, None without any."""
    means: dict[str, float | None] = {}
    for name in Judgement.__dataclass_fields__:
        values = [getattr(row, name) for row in rows]
        if name == "system":
            continue
        known = [value for value in values if value is not None and not np.isnan(value)]
        means[name] = float(np.mean(known)) if known and None not in values else None
    if len(rows) >= _FEWEST:
        each = np.array([row.vus_pr for row in rows])
        draws = [counts @ each for counts in resample_counts(np.arange(len(rows)), _RESAMPLES, 0)]
        low, high = bootstrap_interval(np.concatenate(draws) / len(rows))
        means |= {"vus_pr_low": low, "vus_pr_high": high}
    return Judgement(rows[0].system, **means)  # type: ignore[arg-type]
