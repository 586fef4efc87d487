"""Affiliation precision and recall (Huet et al. 2022, arXiv 2206.13167)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from seqcl.metrics.range_auc import segments_of

__all__ = ["affiliation"]

Floats = npt.NDArray[np.float64]


def affiliation(labels: npt.ArrayLike, alarms: npt.ArrayLike) -> tuple[float, float, float]:
    """Return precision, recall and F1 of `alarms` (T,) against `labels` (T,), both true or false.

    Time is cut half-way between anomalies, and what is raised in a part is judged by its distance
    to the anomaly there: as the probability that a random step of that part is farther. 0.5 is
    what chance gives. Precision is the mean over parts with an alarm, NaN without any; recall that
    over all parts. Equal to the authors' implementation.

    Raises ValueError without an anomaly.
    """
    labels, alarms = np.asarray(labels, bool), np.asarray(alarms, bool)
    if not labels.any():
        raise ValueError("affiliation: no step is labelled anomalous; there is nothing to find")
    anomalies = segments_of(labels) + np.array([0, 1])
    raised = segments_of(alarms) + np.array([0, 1])
    cuts = (anomalies[:-1, 1] + anomalies[1:, 0]) / 2
    starts, stops = np.append(0.0, cuts), np.append(cuts, float(len(labels)))
    precisions, recalls = [], []
    for anomaly, start, stop in zip(anomalies, starts, stops, strict=True):
        part = np.clip(raised, start, stop).astype(float)
        part = part[part[:, 0] < part[:, 1]]
        recalls.append(_recall(anomaly, part, start, stop) if len(part) else 0.0)
        if len(part):
            precisions.append(_precision(anomaly, part, start, stop))
    recall = float(np.mean(recalls))
    if not precisions:
        return float("nan"), recall, 0.0
    precision = float(np.mean(precisions))
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-300)


def _precision(anomaly: Floats, raised: Floats, start: float, stop: float) -> float:
    """Return the mean over raised time of the chance to be farther from the anomaly."""
    first, last = anomaly

    def farther(time: Floats) -> Floats:
        away = np.maximum(np.maximum(first - time, time - last), 0)
        nearer = np.minimum(away, first - start) + np.minimum(away, stop - last)
        return np.where(away > 0, 1 - (nearer + last - first) / (stop - start), 1.0)

    bends = np.array([first, last, last + first - start, first - (stop - last)])
    total = sum(_integral(farther, bends, *one) for one in raised)
    return float(total / np.diff(raised).sum())


def _recall(anomaly: Floats, raised: Floats, start: float, stop: float) -> float:
    """Return the mean over the anomaly of the chance to be farther than what is raised."""

    def farther(time: Floats) -> Floats:
        gaps = np.maximum(raised[:, :1] - time, time - raised[:, 1:])
        away = np.maximum(gaps.min(0), 0)
        nearer = np.minimum(away, time - start) + np.minimum(away, stop - time)
        return np.asarray(1 - nearer / (stop - start))

    ends = raised.ravel()
    middles = (raised[:-1, 1] + raised[1:, 0]) / 2
    bends = np.concatenate([ends, middles, (ends + start) / 2, (ends + stop) / 2])
    return _integral(farther, bends, *anomaly) / float(anomaly[1] - anomaly[0])


def _integral(
    function: Callable[[Floats], Floats], bends: Floats, start: float, stop: float
) -> float:
    """Return the integral of a function that is linear between its bends, where it may jump."""
    inner = np.unique(bends[(bends > start) & (bends < stop)])
    knots = np.concatenate([[start], inner, [stop]])
    middles, widths = (knots[1:] + knots[:-1]) / 2, np.diff(knots)
    return float((function(middles) * widths).sum())
