"""Volumes under the range-aware ROC and precision-recall surfaces (VUS).

Paparrizos et al. 2022, "Volume Under the Surface: A New Accuracy Evaluation Measure for
Time-Series Anomaly Detection", PVLDB 15(11).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Volumes", "segments_of", "volumes"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_CELLS = 1 << 22
"""Weights of steps near an anomaly that are held at once."""


@dataclass(frozen=True)
class Volumes:
    """Means, over the widths 0 to `window` of the tolerance, of two areas; 1 = perfect."""

    roc: float
    pr: float


def segments_of(labels: npt.ArrayLike) -> Ints:
    """Return (S, 2) first and last step of every run of true labels (T,)."""
    padded = np.concatenate([[False], np.asarray(labels, bool), [False]]).astype(np.int8)
    steps = np.diff(padded)
    return np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1], 1)


def volumes(
    labels: npt.ArrayLike, scores: npt.ArrayLike, window: int, *, thresholds: int = 250
) -> Volumes:
    """Return VUS-ROC and VUS-PR of `scores` (T,), higher = more anomalous.

    An anomaly is given a margin of up to half a width on both sides, in which a step at a distance
    of d counts ``sqrt(1 - d / width)``; recall is multiplied by the share of anomalies, with their
    margins, in which anything is found. Of the sorted scores `thresholds` evenly spaced ones are
    tried. Equal to the reference implementation of the authors (``RangeAUC_volume_opt``), which
    visits every threshold for every width; here a step is weighed once a width.

    Raises ValueError without an anomaly, with scores that are not finite, or of another length.
    """
    labels, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"volumes: labels are {labels.shape} and scores {scores.shape}")
    if not labels.any():
        raise ValueError("volumes: no step is labelled anomalous; there is nothing to find")
    if not np.isfinite(scores).all():
        raise ValueError("volumes: scores must be finite")
    surface = _Surface(labels, scores, window, thresholds)
    areas = np.concatenate([surface.areas(widths) for widths in surface.parts()], 1)
    return Volumes(*areas.mean(1).tolist())


class _Surface:
    """What all widths of the tolerance share."""

    def __init__(self, labels: Bools, scores: Floats, window: int, thresholds: int) -> None:
        self.scores, self.window = scores, window
        self.segments = segments_of(labels)
        self.positives = int(labels.sum())
        falling = -np.sort(-scores)
        self.levels = falling[np.linspace(0, len(scores) - 1, thresholds).astype(int)]
        self.found = np.searchsorted(-falling, -self.levels, side="right")  # scores >= level
        inside = -np.sort(-scores[labels])
        self.hits = np.searchsorted(-inside, -self.levels, side="right")
        self._near(labels)

    def _near(self, labels: Bools) -> None:
        """Find the steps outside an anomaly within half a window of one, by falling score."""
        reach = self.window // 2
        away = np.arange(1, reach + 1)
        after = (self.segments[:, 1, None] + away).ravel()
        before = (self.segments[:, 0, None] - away).ravel()
        step = np.concatenate([after, before])
        distance = np.concatenate([np.tile(away, len(self.segments))] * 2)
        real = (step >= 0) & (step < len(labels))
        step, distance = step[real], distance[real]
        outside = ~labels[step]
        step, distance = step[outside], distance[outside]
        order = np.lexsort((step, -self.scores[step]))
        self.near, self.distance = step[order], distance[order]
        self.starts = np.flatnonzero(np.append(True, np.diff(self.near) != 0))[: len(self.near)]
        near_scores = self.scores[self.near[self.starts]]
        self.counted = np.searchsorted(-near_scores, -self.levels, side="right")

    def parts(self) -> list[Ints]:
        """Return the widths, in parts of bounded memory."""
        widths = np.arange(self.window + 1)
        size = max(1, _CELLS // max(1, len(self.near)))
        return [widths[first : first + size] for first in range(0, len(widths), size)]

    def areas(self, widths: Ints) -> Floats:
        """Return the areas (2, W) under both curves of some widths."""
        hits = self.hits + self._margins(widths)  # (W, thresholds)
        existence = np.stack([self._existence(half) for half in widths // 2])
        positives = self.positives + (hits - self.hits) / 2
        recall = np.minimum(hits / positives, 1) * existence
        false = (self.found - hits) / (len(self.scores) - positives)
        ends = np.ones((len(widths), 1))
        recall = np.hstack([0 * ends, recall, ends])
        false = np.hstack([0 * ends, false, ends])
        roc = (np.diff(false) * (recall[:, 1:] + recall[:, :-1]) / 2).sum(1)
        pr = (np.diff(recall)[:, :-1] * hits / self.found).sum(1)
        return np.stack([roc, pr])

    def _margins(self, widths: Ints) -> Floats:
        """Return what steps near an anomaly count, (W, thresholds), at each level."""
        if not len(self.near):
            return np.zeros((len(widths), len(self.levels)))
        width = widths[:, None]
        share = 1 - self.distance / np.maximum(width, 1)
        weight = np.where(self.distance <= width // 2, np.sqrt(np.maximum(share, 0)), 0.0)
        weight = np.minimum(np.add.reduceat(weight, self.starts, axis=1), 1)
        total = np.hstack([np.zeros((len(widths), 1)), weight.cumsum(1)])
        return np.asarray(total[:, self.counted])

    def _existence(self, half: int) -> Floats:
        """Return the share of anomalies (thresholds,) found with `half` a width around them."""
        first = np.maximum(self.segments[:, 0] - half, 0)
        last = np.minimum(self.segments[:, 1] + half, len(self.scores) - 1)
        apart = self.segments[:-1, 1] + half < self.segments[1:, 0] - half
        first, last = first[np.append(True, apart)], last[np.append(apart, True)]
        bounds = np.stack([first, last + 1], 1).ravel()
        padded = np.append(self.scores, -np.inf)  # a bound may be the end
        highest = np.sort(np.maximum.reduceat(padded, bounds)[::2])
        missed = np.searchsorted(highest, self.levels, side="left")
        return np.asarray(1 - missed / len(first))
