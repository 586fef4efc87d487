"""Which pairs of anchors and columns count: the one place that says so, tile by tile.

An anchor never meets itself. *False negatives*, other records that are likely the same thing, are
told by small rules over whole rows: equal codes, neighbours in time, a cosine above a threshold.
A rule sees one tile at a time, so no mask of all pairs is ever held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Differing", "Near", "Pairs", "Rule", "Same", "Similar", "Unsampled"]


class Rule(Protocol):
    """Says for one tile which pairs do not count."""

    def __call__(self, tile: Tensor, rows: slice, columns: slice, unit: float) -> Tensor:
        """Return True where a pair does not count; `tile` holds the scores times `unit`."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs (anchor i, column j) that count; (i, d + i) is called diagonal d."""

    skip: tuple[int, ...] = (0,)
    """Diagonals that never count: an anchor with itself; its positive where that is decoupled."""
    keep: tuple[int, ...] = ()
    """Diagonals that no rule excludes: an anchor with its positive."""
    rules: tuple[Rule, ...] = ()

    def hidden(self, tile: Tensor, rows: slice, columns: slice, unit: float = 1.0) -> Tensor | None:
        """Return True where a rule excludes a pair of the tile; None without rules."""
        if not self.rules:
            return None
        out = self.rules[0](tile, rows, columns, unit)
        for rule in self.rules[1:]:
            out |= rule(tile, rows, columns, unit)
        for diagonal in self.keep:
            out.diagonal(diagonal + rows.start - columns.start).fill_(False)
        return out

    def fill_(
        self, tile: Tensor, hidden: Tensor | None, rows: slice, columns: slice, value: float
    ) -> Tensor:
        """Write `value`, in place, where a pair does not count."""
        if hidden is not None:
            tile.masked_fill_(hidden, value)
        for diagonal in self.skip:
            tile.diagonal(diagonal + rows.start - columns.start).fill_(value)
        return tile


@dataclass(frozen=True, slots=True)
class Same:
    """Pairs of equal codes do not count."""

    anchors: Tensor
    """(R,) codes."""
    columns: Tensor
    """(M,) codes."""

    def __call__(self, tile: Tensor, rows: slice, columns: slice, unit: float) -> Tensor:
        """Return True where the codes are equal."""
        return self.anchors[rows, None] == self.columns[columns]


@dataclass(frozen=True, slots=True)
class Differing:
    """Pairs of different codes do not count: what is left are positives."""

    anchors: Tensor
    columns: Tensor

    def __call__(self, tile: Tensor, rows: slice, columns: slice, unit: float) -> Tensor:
        """Return True where the codes differ."""
        return self.anchors[rows, None] != self.columns[columns]


@dataclass(frozen=True, slots=True)
class Near:
    """Pairs that are less than some steps apart do not count."""

    anchors: Tensor
    """(R,) int64 places on one line of time that holds every recording."""
    columns: Tensor
    steps: int

    def __call__(self, tile: Tensor, rows: slice, columns: slice, unit: float) -> Tensor:
        """Return True where the places are near."""
        return (self.anchors[rows, None] - self.columns[columns]).abs_() < self.steps


@dataclass(frozen=True, slots=True)
class Similar:
    """Pairs of a cosine above a threshold do not count."""

    anchors: Tensor
    """(R,) norms."""
    columns: Tensor
    """(M,) norms."""
    above: float

    def __call__(self, tile: Tensor, rows: slice, columns: slice, unit: float) -> Tensor:
        """Return True where the cosine is above the threshold."""
        return tile > (self.above * unit * self.anchors[rows, None]) * self.columns[columns]


@dataclass(frozen=True, slots=True)
class Unsampled:
    """Pairs do not count unless the way from the anchor's record to the column's was drawn."""

    drawn: Tensor
    """(N,) True where the columns that many records further on, around the end, count."""
    first: int
    """Record of anchor 0."""

    def __call__(self, tile: Tensor, rows: slice, columns: slice, unit: float) -> Tensor:
        """Return True where a pair was not drawn."""
        n, device = len(self.drawn), self.drawn.device
        here = torch.arange(self.first + rows.start, self.first + rows.stop, device=device)
        there = torch.arange(columns.start, columns.stop, device=device)
        return ~self.drawn[(there - here[:, None]) % n]
