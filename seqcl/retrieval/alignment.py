"""Alignment: where in a recording the windows of a query lie, one after another.

The nearest entries of each window vote for (recording, offset); around the offsets with most
votes the cosines along the diagonal are summed over a fine grid, as landmark matchers sum hits
(Wang 2003) and neural fingerprints sum segment scores (Chang et al. 2021, arXiv 2010.11910).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.retrieval.ranking import Ranker

__all__ = ["Aligned", "Alignment", "Cut", "align"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_NEAREST, _CANDIDATES, _RECORDINGS = 64, 32, 12
_GRID, _REACH = 8, 2
"""Places a hop of the fine grid, and hops that it reaches to each side of a vote."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A query as windows, brought from the speed that it may be played at to that of recordings."""

    vectors: Floats
    """(m, E) unit vectors of its windows."""
    starts: Ints
    """(m,) first step of each window, from where the query begins."""
    speed: float = 1.0
    """How many times as fast as the recording the query would be."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """A recording and the step of it at which the query begins."""

    recording: int
    start: float
    """Steps; may lie between two entries."""
    score: float
    """Mean cosine of the query's windows with the entries along the diagonal."""
    speed: float = 1.0
    """Of the cut of the query that lies there."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """The best alignment with each of a few recordings, best first."""

    best: tuple[Alignment, ...]
    floor: float
    """Mean cosine of the farthest entries that were looked at: what lies in no alignment is no
    nearer than that."""


def align(ranker: Ranker, cuts: Sequence[Cut], allowed: Bools | None = None) -> Aligned:
    """Return the best alignment of any cut of a query with each of a few recordings.

    Args:
        ranker: the open index.
        cuts: the query at each speed that it may have.
        allowed: (n,) bool, entries that may be found; None = all.
    """
    found: dict[int, Alignment] = {}
    floors = []
    for cut in cuts:
        best, floor = _aligned(ranker, cut, allowed)
        floors.append(floor)
        for recording, one in best.items():
            if recording not in found or one.score > found[recording].score:
                found[recording] = one
    best_first = sorted(found.values(), key=lambda one: (-one.score, one.recording))
    return Aligned(tuple(best_first[:_RECORDINGS]), max(floors))


def _aligned(ranker: Ranker, cut: Cut, allowed: Bools | None) -> tuple[dict[int, Alignment], float]:
    """Return the best alignment with each of `_RECORDINGS` at most, and `Aligned.floor`."""
    hop = ranker.entries.hop or 1
    found: dict[int, Alignment] = {}
    places, floor = _votes(ranker, cut.vectors, cut.starts, allowed, hop)
    for recording, offset in places:
        if recording not in found and len(found) == _RECORDINGS:
            continue
        best = _refined(ranker, recording, offset, cut, hop)
        if recording not in found or best.score > found[recording].score:
            found[recording] = best
    return found, floor


def _votes(
    ranker: Ranker, vectors: Floats, starts: Ints, allowed: Bools | None, hop: int
) -> tuple[list[tuple[int, float]], float]:
    """Return (recording, offset) by falling sum of cosines, and `Aligned.floor`."""
    k = min(_NEAREST, len(ranker.neighbours))
    scores, near = ranker.neighbours.search(vectors, k, allowed)
    window, place = np.nonzero(near >= 0)
    if not len(window):
        return [], 0.0
    ids = near[window, place]
    recording = ranker.entries.recording_of(ids)
    offset = ranker.entries.start_of(ids) - starts[window]
    weight = np.maximum(scores[window, place].astype(np.float64), 0.0)
    bins = np.floor_divide(offset, hop)  # a vote counts for its bin and the next: no edge
    low, many = int(bins.min()) - 1, int(np.ptp(bins)) + 2
    keys = np.tile(recording * many, 2) + np.concatenate((bins, bins - 1)) - low
    unique, where = np.unique(keys, return_inverse=True)
    total = np.bincount(where, weights=np.tile(weight, 2))
    order = np.argsort(-total, kind="stable")[:_CANDIDATES]
    floor = float(np.where(near >= 0, scores, np.inf).min(axis=1).mean())
    places = zip(unique[order] // many, unique[order] % many + low, strict=True)
    return [(int(r), float((b + 1) * hop)) for r, b in places], floor


def _refined(ranker: Ranker, recording: int, offset: float, cut: Cut, hop: int) -> Alignment:
    """Return the best place near an offset, between entries by interpolation."""
    entries, starts = ranker.entries, cut.starts
    ids = entries.ids_of(entries.recording == recording)
    places = entries.start_of(ids)
    reach = (_REACH + 1) * hop
    near = (places >= offset - reach) & (places <= offset + int(starts[-1]) + reach)
    if not near.any():
        near = np.abs(places - offset) == np.abs(places - offset).min()
    places = places[near]
    order = np.argsort(places, kind="stable")
    places = places[order]
    similarity = ranker.shards.read(ids[near][order]) @ cut.vectors.T  # (entries, m)
    steps = _REACH * _GRID if entries.hop else 0  # a whole recording has one place
    grid: Doubles = offset + np.arange(-steps, steps + 1, dtype=np.float64) * (hop / _GRID)
    sums = _diagonal(grid, places.astype(np.float64), similarity.astype(np.float64), starts, hop)
    best = int(sums.argmax())
    place = float(_peak(grid, sums, best))
    return Alignment(recording, place, float(sums[best]), cut.speed)


def _diagonal(
    grid: Doubles, places: Doubles, similarity: Doubles, starts: Ints, hop: int
) -> Doubles:
    """Return the mean cosine along the diagonal for each offset of the grid.

    Each entry (row of `similarity`) that the query covers, half a hop more at its ends, is
    compared with the query's windows around its own place. Where fewer entries are covered than
    the query is long, the rest count 0.
    """
    total, count = np.zeros(len(grid)), np.zeros(len(grid))
    windows = starts.astype(np.float64)
    for place, row in zip(places.tolist(), similarity, strict=True):
        at = place - grid  # where the entry would lie in the query
        inside = (at >= -hop / 2) & (at <= windows[-1] + hop / 2)
        total += np.where(inside, np.interp(at, windows, row), 0.0)
        count += inside
    mean: Doubles = total / np.maximum(count, max(1.0, windows[-1] / hop))
    return mean


def _peak(grid: Doubles, sums: Doubles, best: int) -> float:
    """Return the top of the parabola through the best place and its neighbours.

    Where several places are equally good, as those of a query of one window, the middle one.
    """
    equal = np.flatnonzero(sums >= sums[best] - 1e-12)
    if len(equal) > 1 or not 0 < best < len(grid) - 1:
        return float(grid[equal].mean())
    left, middle, right = sums[best - 1 : best + 2].tolist()
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(grid[best] + shift * (grid[1] - grid[0]))
