"""Which rows belong to which class or group, and random hands of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Members", "hands", "sets_of"]

Ints = npt.NDArray[np.int64]


class Members:
    """The rows of each of S sets, from one code per row; codes below 0 belong to none."""

    def __init__(self, codes: Ints) -> None:
        rows = np.argsort(codes, kind="stable")[int((codes < 0).sum()) :]
        self.codes, self.counts = np.unique(codes[rows], return_counts=True)
        self._rows = rows
        self._ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, place: int) -> Ints:
        """Return the rows of one set, in order."""
        end = self._ends[place]
        return self._rows[end - self.counts[place] : end]


def hands(n: int, size: int, count: int, rng: np.random.Generator) -> Ints:
    """Deal `count` hands of `size` of the things 0 to n - 1: (count, size).

    A hand holds nothing twice where `n` is at least `size`; below that it holds everything as
    evenly as can be. Hands are dealt from one shuffled deck until it is short of another hand,
    so that all things come about equally often.
    """
    if n < size:
        repeats = -(-size // n)
        decks = np.tile(np.arange(n), (count * repeats, 1))
        return rng.permuted(decks, axis=1).reshape(count, -1)[:, :size]
    per_deck = n // size
    decks = np.tile(np.arange(n), (-(-count // per_deck), 1))
    shuffled = rng.permuted(decks, axis=1)[:, : per_deck * size]
    return shuffled.reshape(-1, size)[:count]


def sets_of(members: Members, order: Ints, size: int, rng: np.random.Generator) -> Ints:
    """Return (len(order), size) rows: for each place in `order`, a hand of that set's rows."""
    rows = np.empty((len(order), size), dtype=np.int64)
    by_set = np.argsort(order, kind="stable")
    kinds, first = np.unique(order[by_set], return_index=True)
    for place, mine in zip(kinds.tolist(), np.split(by_set, first[1:]), strict=True):
        own = members[place]
        rows[mine] = own[hands(len(own), size, len(mine), rng)]
    return rows
