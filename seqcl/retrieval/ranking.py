"""Ranking: the entries nearest to a query's windows, one a recording, scored by their vectors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seqcl.retrieval.entries import Entries
from seqcl.retrieval.neighbours import candidates_of
from seqcl.retrieval.shards import Shards

__all__ = ["Finder", "Hit", "Ranker", "cosines"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_AT_ONCE, _PAIRS = 256, 1 << 16
"""Windows of a query that are taken together, and how many candidates of theirs are scored so."""


class Finder(Protocol):
    """Finds near entries: faiss (`Neighbours`) or a server (`QdrantNeighbours`)."""

    def __len__(self) -> int: ...

    def search(self, queries: Floats, k: int, allowed: Bools | None = None) -> tuple[Floats, Ints]:
        """Return scores and ids (q, k), best first; id -1 where there are no more."""
        ...


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry, its cosine with a window of the query, and which window that is."""

    entry: int
    recording: int
    score: float
    window: int


@dataclass(frozen=True)
class Ranker:
    """What a search needs of an open index."""

    entries: Entries
    shards: Shards
    neighbours: Finder

    def rank(
        self, queries: Floats, k: int, allowed: Bools | None = None, *, distinct: bool = True
    ) -> list[Hit]:
        """Return the k best entries for any of the windows (m, E) of one query, best first.

        With `distinct` each recording comes once, by its best entry. `allowed` (n,) bool says
        which entries may be found. Scores are cosines with the stored vectors in float64,
        whatever the faiss part approximates; of equal ones, which may be many (silence), some are
        looked at, and come in the order of their ids.
        """
        found = []
        for first in range(0, len(queries), _AT_ONCE):
            hits = self._rank(queries[first : first + _AT_ONCE], k, allowed, distinct)
            found += [replace(hit, window=hit.window + first) for hit in hits]
        return list(_best(found, distinct).values())[:k]

    def _rank(self, queries: Floats, k: int, allowed: Bools | None, distinct: bool) -> list[Hit]:
        """Return what `rank` does for windows that are taken at once.

        A window whose candidates are all nearer than the k-th hit may have others as near: more of
        its candidates are looked at.
        """
        total = len(self.neighbours)
        known = len(self.entries.recordings) if distinct else total
        k, want = min(k, known), min(candidates_of(k), total)
        best: dict[int, Hit] = {}
        windows = np.arange(len(queries))
        while True:
            near = self.neighbours.search(queries[windows], want, allowed)[1]
            hits, lowest = self._scored(queries, windows, near, distinct)
            best = _best([*best.values(), *hits], distinct)
            ranked = list(best.values())[:k]
            more = near[:, -1] >= 0
            if len(ranked) == k:
                more &= lowest > ranked[-1].score
            windows = windows[more]
            if want == total or not len(windows):
                return ranked
            want = min(4 * want, total)

    def _scored(
        self, queries: Floats, windows: Ints, near: Ints, distinct: bool
    ) -> tuple[list[Hit], Doubles]:
        """Score the candidates (m, c) of some windows.

        Returns the best window of each entry, or of each recording, and the lowest score of each
        window, (m,).
        """
        row, place = np.nonzero(near >= 0)
        ids, window = near[row, place], windows[row]
        lowest: Doubles = np.full(len(near), np.inf)
        if not len(ids):
            return [], lowest
        unique, where = np.unique(ids, return_inverse=True)
        vectors = self.shards.read(unique)
        blocks = (slice(at, at + _PAIRS) for at in range(0, len(ids), _PAIRS))
        scores = np.concatenate([cosines(vectors[where[b]], queries[window[b]]) for b in blocks])
        np.minimum.at(lowest, row, scores)
        order = np.lexsort((window, ids, -scores))
        recording = self.entries.recording_of(ids)
        _, first = np.unique((recording if distinct else ids)[order], return_index=True)
        return [
            Hit(int(ids[at]), int(recording[at]), float(scores[at]), int(window[at]))
            for at in order[np.sort(first)].tolist()
        ], lowest


def _best(hits: Iterable[Hit], distinct: bool) -> dict[int, Hit]:
    """Return the best hit of each recording, or of each entry, best first."""
    best: dict[int, Hit] = {}
    for hit in sorted(hits, key=lambda hit: (-hit.score, hit.entry, hit.window)):
        best.setdefault(hit.recording if distinct else hit.entry, hit)
    return best


def cosines(a: Floats, b: Floats) -> Doubles:
    """Return the inner products of rows (n, E) of unit vectors, the same bits in any company."""
    products: Doubles = np.einsum("ij,ij->i", a.astype(np.float64), b.astype(np.float64))
    return products
