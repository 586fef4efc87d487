"""Ranking: the entries nearest to a query's windows, one a recording, scored by their vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seqcl.retrieval.entries import Entries
from seqcl.retrieval.neighbours import candidates_of
from seqcl.retrieval.shards import Shards

__all__ = ["Finder", "Hit", "Ranker", "cosines"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_AT_ONCE = 256
"""Windows of a query whose candidates are scored together."""


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
        whatever the faiss part approximates; equal ones come in the order of their ids.
        """
        found = []
        for first in range(0, len(queries), _AT_ONCE):
            hits = self._rank(queries[first : first + _AT_ONCE], k, allowed, distinct)
            found += [replace(hit, window=hit.window + first) for hit in hits]
        best: dict[int, Hit] = {}
        for hit in sorted(found, key=lambda hit: (-hit.score, hit.entry, hit.window)):
            best.setdefault(hit.recording if distinct else hit.entry, hit)
        return list(best.values())[:k]

    def _rank(self, queries: Floats, k: int, allowed: Bools | None, distinct: bool) -> list[Hit]:
        """Return what `rank` does for windows that are taken at once."""
        total = len(self.neighbours)
        known = len(self.entries.recordings) if distinct else total
        k, want = min(k, known), candidates_of(k)
        hits: list[Hit] = []
        seen = -1
        while True:
            near = self.neighbours.search(queries, min(want, total), allowed)[1]
            hits = self._scored(queries, near, distinct)
            found = int((near >= 0).sum())
            if len(hits) >= k or want >= total or found == seen:
                return hits[:k]
            want, seen = 4 * want, found

    def _scored(self, queries: Floats, near: Ints, distinct: bool) -> list[Hit]:
        """Score the candidates (m, c) of each window and keep the best of each entry."""
        window, place = np.nonzero(near >= 0)
        ids = near[window, place]
        if not len(ids):
            return []
        unique, where = np.unique(ids, return_inverse=True)
        scores = cosines(self.shards.read(unique)[where], queries[window])
        order = np.lexsort((window, ids, -scores))
        recording = self.entries.recording_of(ids)
        _, best = np.unique((recording if distinct else ids)[order], return_index=True)
        return [
            Hit(int(ids[row]), int(recording[row]), float(scores[row]), int(window[row]))
            for row in order[np.sort(best)].tolist()
        ]


def cosines(a: Floats, b: Floats) -> npt.NDArray[np.float64]:
    """Return the inner products of rows (n, E) of unit vectors, the same bits in any company."""
    products: npt.NDArray[np.float64] = np.einsum(
        "ij,ij->i", a.astype(np.float64), b.astype(np.float64)
    )
    return products
