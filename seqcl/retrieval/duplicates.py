"""Duplicates: recordings that are nearly the same, in whole or in part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.retrieval.ranking import Ranker, cosines

__all__ = ["DuplicateGroup", "find_duplicates"]

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_NEAREST, _AT_ONCE = 16, 1_024


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

    Two entries match where each is among the other's nearest and their cosine is at least
    `threshold`; two recordings are duplicates where at least `share` of the entries of the one
    with fewer match entries of the other. Groups are joined from such pairs.
    """
    entries = ranker.entries
    total = np.bincount(entries.recording, weights=entries.count, minlength=1)
    pairs, scores = _mutual(ranker, threshold)
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


def _mutual(ranker: Ranker, threshold: float) -> tuple[Ints, Doubles]:
    """Return pairs of entries (P, 2) of two recordings that are near each other, and cosines."""
    entries = ranker.entries
    overlap = 0 if entries.hop is None else 2 * -(-(entries.window or 0) // entries.hop)
    k = min(_NEAREST + overlap, len(ranker.neighbours))
    ids = entries.ids
    found = [np.empty((0, 2), np.int64)]
    for first in range(0, len(ids), _AT_ONCE):
        mine = ids[first : first + _AT_ONCE]
        near = ranker.neighbours.search(ranker.shards.read(mine), k)[1]
        row, column = np.nonzero(near >= 0)
        edges = np.column_stack((mine[row], near[row, column]))
        recording = entries.recording_of(edges)
        found.append(edges[recording[:, 0] != recording[:, 1]])
    edges = np.concatenate(found)
    size = int(ids[-1]) + 1
    codes = edges[:, 0] * size + edges[:, 1]
    back = edges[:, 1] * size + edges[:, 0]
    edges = edges[np.isin(codes, back) & (edges[:, 0] < edges[:, 1])]
    scores = cosines(ranker.shards.read(edges[:, 0]), ranker.shards.read(edges[:, 1]))
    keep = scores >= threshold
    return edges[keep], scores[keep]


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
