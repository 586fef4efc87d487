"""Recognition: whether the best alignment is right, or the query is a stranger.

A logistic curve over the score of the best alignment, its lead over the other candidates and the
length of the query is fitted to queries made of the index's own recordings, as changed as the
run's own views change them. Each is asked twice: in the whole index, and with its own source left
out, as a stranger. The threshold is where both errors are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.retrieval.alignment import Aligned, Cut, align
from seqcl.retrieval.ranking import Ranker

__all__ = ["Changed", "Sample", "confidence", "equal_error", "evidence", "learn_recognition"]

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_FEWEST, _STEPS, _RIDGE, _LONGEST = 20, 50, 1e-3, 5.0
_USELESS = 0.4
"""Equal error from which a curve tells next to nothing: 0.5 is chance."""


@dataclass(frozen=True)
class Sample:
    """A changed query made of a recording of the index."""

    recording: int
    start: int
    cuts: tuple[Cut, ...]
    """At each speed that is tried, as it is first."""


Changed = Callable[[Ranker], Sequence[Sample]]
"""Makes changed queries of an index's own recordings."""


def evidence(found: Aligned, windows: int) -> tuple[float, float, float]:
    """Return what speaks for the best alignment: its score, its lead, the query's length.

    The lead is over the median of the other recordings' best, so that one near-duplicate in the
    index does not make its original unknown; where no other was near, over the farthest entries
    that were looked at.
    """
    size = float(np.log2(windows))
    if not found.best:
        return 0.0, 0.0, size
    others = [one.score for one in found.best[1:]] or [found.floor]
    score = found.best[0].score
    return score, score - float(np.median(others)), size


def learn_recognition(ranker: Ranker, samples: Sequence[Sample]) -> dict[str, Any] | None:
    """Return weights, threshold and errors; None where there are too few samples or sources.

    None too where what was learnt is hardly better than chance for sources that it did not see.

    ``error`` is the equal error of sources that the weights did not see.
    """
    entries = ranker.entries
    facts, known, source = [], [], []
    hits = 0
    for sample in samples:
        own = int(entries.source_of[sample.recording])
        without = np.ones(int(entries.first[-1] + entries.count[-1]), dtype=bool)
        without[entries.ids_of(entries.source_of[entries.recording] == own)] = False
        for allowed in (None, without):
            found = align(ranker, sample.cuts, allowed)
            best = found.best[0].recording if found.best else -1
            is_right = best >= 0 and int(entries.source_of[best]) == own
            hits += is_right
            if allowed is not None or is_right:  # a wrong answer tells of neither case
                facts.append(evidence(found, len(sample.cuts[0].starts)))
                known.append(allowed is None)
                source.append(own)
    if min(sum(known), len(known) - sum(known)) < _FEWEST or len(set(source)) < 3:
        return None
    x, y = np.array(facts), np.array(known, dtype=np.float64)
    weights = _logistic(x, y)
    threshold, _ = equal_error(_sigmoid(x, weights), y > 0)
    half = np.unique(source, return_inverse=True)[1] % 2 == 0
    crossed = np.empty(len(y))
    for part in (half, ~half):
        crossed[part] = _sigmoid(x[part], _logistic(x[~part], y[~part]))
    error = equal_error(crossed, y > 0)[1]
    if error > _USELESS:
        return None
    return {
        "weights": weights.tolist(),
        "threshold": threshold,
        "queries": len(samples),
        "recordings": len(entries.recordings),
        "found": round(hits / len(samples), 4),
        "error": round(error, 4),
    }


def confidence(learnt: Mapping[str, Any] | None, facts: Sequence[float]) -> float | None:
    """Return the probability that the best alignment is right; None where nothing was learnt."""
    if learnt is None:
        return None
    return float(_sigmoid(np.array([facts]), np.array(learnt["weights"]))[0])


def equal_error(scores: Doubles, known: Bools) -> tuple[float, float]:
    """Return the threshold at which misses equal false alarms, and their rate there.

    Higher = known; a score at the threshold counts as known.
    """
    levels = np.unique(scores)
    misses = np.array([(scores[known] < level).mean() for level in levels])
    alarms = np.array([(scores[~known] >= level).mean() for level in levels])
    best = int(np.abs(misses - alarms).argmin())
    return float(levels[best]), float((misses[best] + alarms[best]) / 2)


def _logistic(x: Doubles, y: Doubles) -> Doubles:
    """Return intercept and weights of logistic regression with a small ridge, by Newton steps.

    Both classes weigh the same; the ridge is on standardised columns.
    """
    centre, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    design = np.column_stack((np.ones(len(x)), (x - centre) / spread))
    weight = np.where(y > 0, 0.5 / max(y.sum(), 1), 0.5 / max((1 - y).sum(), 1))
    penalty = _RIDGE * np.diag([0.0, *np.ones(x.shape[1])])
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        slope = design.T @ (weight * (y - p)) - penalty @ beta
        bend = (design * (weight * np.maximum(p * (1 - p), 1e-9))[:, None]).T @ design + penalty
        step = np.linalg.solve(bend, slope)
        size = float(np.abs(step).max())
        beta += step * min(1.0, _LONGEST / max(size, 1e-12))
        if size < 1e-8:
            break
    slopes = beta[1:] / spread
    return np.append(beta[0] - slopes @ centre, slopes)


def _sigmoid(x: Doubles, weights: Doubles) -> Doubles:
    odds = np.clip(weights[0] + x @ weights[1:], -30, 30)
    p: Doubles = 1 / (1 + np.exp(-odds))
    return p
