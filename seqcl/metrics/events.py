"""What an operator counts: incidents found, false alarms and delay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.metrics.range_auc import segments_of

__all__ = ["EventScores", "event_scores", "located", "point_adjusted_f1"]


@dataclass(frozen=True)
class EventScores:
    """Alarms against labelled anomalies; NaN where nothing could be counted."""

    recall: float
    """Share of anomalies with an alarm in them, or up to the tolerance after."""
    precision: float
    """Share of alarms that touch an anomaly."""
    false_alarms: int
    """Alarms that touch none."""
    false_share: float
    """Share of the normal steps that are under alarm."""
    delay: float
    """Median steps from the start of a found anomaly to its first alarm."""


def event_scores(
    labels: npt.ArrayLike, alarms: npt.ArrayLike, *, tolerance: int = 0
) -> EventScores:
    """Compare runs of alarms (T,) with runs of labels (T,), both true or false.

    An alarm belongs to an anomaly if they share a step, the anomaly being drawn out by `tolerance`
    steps at its end. Nothing is adjusted: a step under alarm counts for itself alone.
    """
    labels, alarms = np.asarray(labels, bool), np.asarray(alarms, bool)
    if labels.shape != alarms.shape or labels.ndim != 1:
        raise ValueError(f"event_scores: labels are {labels.shape} and alarms {alarms.shape}")
    anomalies, raised = segments_of(labels), segments_of(alarms)
    drawn = anomalies + np.array([0, tolerance])
    meet = (raised[:, None, 0] <= drawn[None, :, 1]) & (raised[:, None, 1] >= drawn[None, :, 0])
    found, right = meet.any(0), meet.any(1)
    begun = [
        max(0, int(raised[meet[:, place], 0].min() - anomalies[place, 0]))
        for place in np.flatnonzero(found)
    ]
    return EventScores(
        recall=float(found.mean()) if len(found) else float("nan"),
        precision=float(right.mean()) if len(right) else float("nan"),
        false_alarms=int((~right).sum()),
        false_share=float(alarms[~labels].mean()) if not labels.all() else float("nan"),
        delay=float(np.median(begun)) if begun else float("nan"),
    )


def located(labels: npt.ArrayLike, scores: npt.ArrayLike, *, slack: int = 100) -> bool:
    """Return whether the highest of `scores` (T,) lies in the one anomaly, or near it.

    The accuracy of the UCR anomaly archive is the mean of this over series. Near is within the
    anomaly's own length, or `slack` steps where that is longer (Wu and Keogh 2021,
    arXiv 2009.13807). Raises ValueError unless there is exactly one anomaly.
    """
    anomalies = segments_of(labels)
    if len(anomalies) != 1:
        raise ValueError(f"located: {len(anomalies)} anomalies; exactly one is needed")
    first, last = anomalies[0].tolist()
    near = max(last - first + 1, slack)
    return bool(first - near < int(np.argmax(scores)) < last + near)


def point_adjusted_f1(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the highest F1 of any threshold on `scores` (T,), whole anomalies counted as found.

    Every step of an anomaly counts as found where one of its scores reaches the threshold (Xu et
    al. 2018, arXiv 1802.03903). Random scores get a high one wherever anomalies are long (Kim et
    al. 2022, arXiv 2109.05257), so that it means something beside theirs alone. NaN without an
    anomaly.
    """
    labels, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"point_adjusted_f1: labels {labels.shape}, scores {scores.shape}")
    anomalies = segments_of(labels)
    if not len(anomalies):
        return float("nan")
    highest = np.array([scores[first : last + 1].max() for first, last in anomalies])
    lengths = anomalies[:, 1] - anomalies[:, 0] + 1
    order = np.argsort(-highest)
    found = np.cumsum(lengths[order])
    normal = np.sort(scores[~labels])
    false = len(normal) - np.searchsorted(normal, highest[order])
    return float((2 * found / (found + false + lengths.sum())).max())
