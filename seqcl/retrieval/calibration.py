"""Calibration: what a score says about the chance that a hit is of the query's own source.

It is measured on the index itself. Entries are taken as queries; hits are right where they come
from the same source, a group or, without one, a recording. Each query is asked twice: once with
all entries but those that share steps with it, and once with its whole source left out, as a
stranger would be. So the probability is that for a query which half the time has a source in the
index, and which is as clean as the index. Nothing is known where no source has two entries that
share no steps, nor above the highest score that was counted: there lie queries that share steps
with an entry, as those cut from an indexed recording do, and copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.retrieval.entries import Entries
from seqcl.retrieval.ranking import Ranker

__all__ = ["calibrate", "expected_error", "isotonic", "probability"]

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_QUERIES, _HITS, _FEWEST, _SEED = 200, 10, 20, 1


def calibrate(ranker: Ranker) -> dict[str, Any] | None:
    """Return the curve from score to probability; None where the index cannot tell.

    ``scores`` and ``probabilities`` are its knots, ``highest`` the highest score that was counted,
    ``queries`` and ``hits`` what it rests on, and ``error`` the expected calibration error on
    sources that a curve of the others did not see.
    """
    entries = ranker.entries
    queries = _queries(entries)
    scores, right, source = [], [], []
    for entry in queries.tolist():
        vector = ranker.shards.read(np.array([entry]))
        recording = int(entries.recording_of(np.array([entry]))[0])
        own = int(entries.source_of[recording])
        for allowed in _two_ways(entries, entry, recording):
            for hit in ranker.rank(vector, _HITS, allowed):
                scores.append(hit.score)
                right.append(int(entries.source_of[hit.recording]) == own)
                source.append(own)
    if min(sum(right), len(right) - sum(right)) < _FEWEST:
        return None
    x, y = np.array(scores), np.array(right, dtype=np.float64)
    knots, values = isotonic(x, y)
    return {
        "scores": knots.round(6).tolist(),
        "probabilities": values.round(6).tolist(),
        "highest": round(float(x.max()), 6),
        "queries": len(queries),
        "hits": len(x),
        "error": round(_crossed_error(x, y, np.array(source)), 4),
    }


def probability(curve: Mapping[str, Any] | None, score: float) -> float | None:
    """Return the probability that a hit of this score is of the query's source.

    None where nothing was counted: without a curve, and above the highest score that it knows.
    """
    if curve is None or score > curve.get("highest", curve["scores"][-1]):
        return None
    return round(float(np.interp(score, curve["scores"], curve["probabilities"])), 4)


def isotonic(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """Return knots of the rising curve nearest to `y` (0 or 1) over `x`, by pooled neighbours.

    Each pool's height is (right + 1/2) / (all + 1), so that no score promises 0 or 1. Equal `x`
    are pooled first.
    """
    levels, where = np.unique(x, return_inverse=True)
    weight = np.bincount(where).astype(np.float64)
    right = np.bincount(where, weights=y)
    pools: list[list[float]] = []  # right, all, sum of x
    for level, all_, hits in zip(levels.tolist(), weight.tolist(), right.tolist(), strict=True):
        pools.append([hits, all_, level * all_])
        while len(pools) > 1 and _height(pools[-2]) >= _height(pools[-1]):
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    knots = np.array([total / all_ for _, all_, total in pools])
    return knots, np.array([_height(pool) for pool in pools])


def expected_error(predicted: Doubles, right: Doubles, bins: int = 10) -> float:
    """Return the mean gap of probability and frequency over bins of equal width, by weight."""
    where = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(where, weights=predicted - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def _height(pool: Sequence[float]) -> float:
    return (pool[0] + 0.5) / (pool[1] + 1)


def _crossed_error(x: Doubles, y: Doubles, source: Ints) -> float:
    """Return the error of each half of the sources under the curve of the other half."""
    half = np.unique(source, return_inverse=True)[1] % 2 == 0
    predicted = np.empty_like(x)
    for part in (half, ~half):
        if not part.any() or part.all():
            return float("nan")
        knots, values = isotonic(x[~part], y[~part])
        predicted[part] = np.interp(x[part], knots, values)
    return expected_error(predicted, y)


def _queries(entries: Entries) -> Ints:
    """Draw entries, from as many sources as there are, the same ones for the same index."""
    draw = np.random.default_rng(_SEED)
    ids = draw.permutation(entries.ids)
    source = entries.source_of[entries.recording_of(ids)]
    order = np.argsort(source, kind="stable")
    place = np.arange(len(ids)) - np.searchsorted(source[order], source[order])
    turn = np.empty_like(place)
    turn[order] = place  # how many of its source come before each entry
    chosen: Ints = ids[np.argsort(turn, kind="stable")[:_QUERIES]]
    return chosen


def _two_ways(entries: Entries, entry: int, recording: int) -> tuple[Bools, Bools]:
    """Return which ids a query may find: all without its own steps, all without its source."""
    size = int(entries.first[-1] + entries.count[-1])
    known = np.ones(size, dtype=bool)
    ids = entries.ids_of(entries.recording == recording)
    starts = entries.start_of(np.append(ids, entry))
    known[ids[np.abs(starts[:-1] - starts[-1]) < entries.length_of(recording)]] = False
    stranger = np.ones(size, dtype=bool)
    source = entries.source_of[entries.recording]
    stranger[entries.ids_of(source == source[int(entries.stretch_of(np.array([entry]))[0])])] = (
        False
    )
    return known, stranger
