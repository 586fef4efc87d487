"""Duplicates: recordings that are nearly the same, in whole or in part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.retrieval.entries import Entries
from seqcl.retrieval.ranking import Ranker, cosines

__all__ = ["DuplicateGroup", "find_duplicates"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_NEAREST, _AT_ONCE, _PAIRS_AT_ONCE = 16, 1_024, 1 << 16
_TIE = 1e-6
"""How far apart the scores of equal entries may be rounded."""


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Places of recordings among `Entries.recordings`, joined by chains of duplicates."""

    recordings: tuple[int, ...]
    score: float
    """Lowest mean cosine of the pairs that join them."""


def find_duplicates(
    ranker: Ranker, threshold: float = 0.98, share: float = 0.5
) -> list[DuplicateGroup]:
    """Return groups of near-duplicate recordings, the most alike first.

    Two entries match where their cosine is at least `threshold` and each is as near as the other's
    nearest of other recordings, or where they lie at the same place of files with the same bytes.
    Two recordings are duplicates where at least `share` of the entries of the one with fewer match
    entries of the other. Groups are joined from such pairs.
    """
    entries = ranker.entries
    total = np.bincount(entries.recording, weights=entries.count, minlength=1)
    pairs, scores = _matches(ranker, threshold)
    recordings = entries.recording_of(pairs)  # (P, 2)
    turned = total[recordings[:, 0]] > total[recordings[:, 1]]
    turned |= (total[recordings[:, 0]] == total[recordings[:, 1]]) & (
        recordings[:, 0] > recordings[:, 1]
    )
    pairs[turned], recordings[turned] = pairs[turned, ::-1], recordings[turned, ::-1]
    best = np.lexsort((-scores, pairs[:, 0], recordings[:, 1], recordings[:, 0]))
    keys = np.column_stack((recordings, pairs[:, 0]))[best]
    once = best[np.unique(keys, axis=0, return_index=True)[1]]
    links, where = np.unique(recordings[once], axis=0, return_inverse=True)
    count = np.bincount(where.reshape(-1), minlength=len(links))
    mean = np.bincount(where.reshape(-1), weights=scores[once], minlength=len(links)) / np.maximum(
        count, 1
    )
    enough = count >= share * total[links[:, 0]]
    return _joined(links[enough], mean[enough])


def _matches(ranker: Ranker, threshold: float) -> tuple[Ints, Doubles]:
    """Return pairs of entries (P, 2) of two recordings that match, and cosines."""
    entries, ids = ranker.entries, ranker.entries.ids
    overlap = 0 if entries.hop is None else 2 * -(-(entries.window or 0) // entries.hop)
    k = min(_NEAREST + overlap, len(ranker.neighbours))
    least = np.full(int(ids[-1]) + 1, -np.inf)
    edges, scores = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for first in range(0, len(ids), _AT_ONCE):
        mine = ids[first : first + _AT_ONCE]
        found, near, least[mine] = _others(ranker, mine, k, threshold)
        row, column = np.nonzero(near >= 0)
        edges.append(np.column_stack((mine[row], near[row, column])))
        scores.append(found[row, column])
    pairs = np.concatenate(edges)
    pairs = pairs[np.concatenate(scores) >= least[pairs[:, 1]] - _TIE]
    pairs = np.sort(np.concatenate((pairs, _copies(entries))), axis=1)
    codes = np.unique(pairs[:, 0] * len(least) + pairs[:, 1])
    pairs = np.column_stack(np.divmod(codes, len(least)))
    exact = _exact(ranker, pairs)
    keep = exact >= threshold
    return pairs[keep], exact[keep]


def _others(ranker: Ranker, ids: Ints, k: int, threshold: float) -> tuple[Floats, Ints, Doubles]:
    """Return scores and ids (n, k) of the nearest entries of other recordings, -1 = none.

    Also (n,) the score from which on one is among them. Where the entry's own recording fills its
    list with entries above the threshold, the others are looked for alone.
    """
    entries, vectors = ranker.entries, ranker.shards.read(ids)
    own = entries.recording_of(ids)
    scores, near = ranker.neighbours.search(vectors, k)
    least = _least(scores, near)
    others = (near >= 0) & (entries.recording_of(near) != own[:, None])
    filled = np.isfinite(least) & (others.sum(axis=1) < _NEAREST)
    filled &= cosines(vectors, ranker.shards.read(np.maximum(near[:, -1], 0))) >= threshold - _TIE
    near[~others] = -1
    width = min(_NEAREST, k)
    for recording in np.unique(own[filled]).tolist():
        rows = np.flatnonzero(filled & (own == recording))
        allowed = np.ones(int(entries.ids[-1]) + 1, dtype=bool)
        allowed[entries.ids_of(entries.recording == recording)] = False
        found = ranker.neighbours.search(vectors[rows], width, allowed)
        near[rows] = -1
        scores[rows, :width], near[rows, :width] = found
        least[rows] = _least(*found)
    return scores, near, least


def _exact(ranker: Ranker, pairs: Ints) -> Doubles:
    """Return the cosines of pairs (P, 2); equal vectors have 1, whatever storage has rounded."""
    found = np.empty(len(pairs))
    for first in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = slice(first, first + _PAIRS_AT_ONCE)
        a, b = (ranker.shards.read(pairs[part, side]) for side in (0, 1))
        found[part] = np.where((a == b).all(axis=1), 1.0, cosines(a, b))
    return found


def _least(scores: Floats, near: Ints) -> Doubles:
    """Return the last score of each list, -inf where the list holds all there are."""
    return np.where(near[:, -1] >= 0, scores[:, -1].astype(np.float64), -np.inf)


def _copies(entries: Entries) -> Ints:
    """Return pairs of entries (P, 2) at the same place of files with the same bytes."""
    recording = entries.recording_of(entries.ids)
    ids = entries.ids[np.argsort(recording, kind="stable")]
    parts = np.split(ids, np.cumsum(np.bincount(recording, minlength=len(entries.recordings)))[:-1])
    before: dict[tuple[str, int], Ints] = {}
    pairs = [np.empty((0, 2), np.int64)]
    for known, mine in zip(entries.recordings, parts, strict=True):
        content = (entries.files[known.file].sha256, known.place)
        other = before.setdefault(content, mine)
        if other is not mine and len(other) == len(mine):
            pairs.append(np.column_stack((other, mine)))
    return np.concatenate(pairs)


def _joined(links: Ints, scores: Doubles) -> list[DuplicateGroup]:
    """Return the connected groups of links (P, 2), the most alike first."""
    parent: dict[int, int] = {}

    def root(member: int) -> int:
        while parent.setdefault(member, member) != member:
            member = parent[member]
        return member

    for a, b in links.tolist():
        parent[root(a)] = root(b)
    members: dict[int, set[int]] = {}
    lowest: dict[int, float] = {}
    for (a, b), score in zip(links.tolist(), scores.tolist(), strict=True):
        top = root(a)
        members.setdefault(top, set()).update((a, b))
        lowest[top] = min(lowest.get(top, 1.0), score)
    groups = [DuplicateGroup(tuple(sorted(group)), lowest[top]) for top, group in members.items()]
    return sorted(groups, key=lambda group: (-group.score, group.recordings))
