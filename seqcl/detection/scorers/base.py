"""Scorer: what a detector asks of one way to see that something is wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from seqcl.rng import Rng

__all__ = ["Scorer", "WindowScorer", "offline", "online"]


class Scorer(ABC):
    """Gives every row of a recording K scores, higher = more anomalous, none below 0.

    Values arrive scaled by the training data: mean 0 and deviation 1 for each channel, gaps held.
    A row's trailing scores depend on the `reach` rows that end with it and on nothing later, so
    that a stream gets what a file gets.

    Args:
        channels: C.
        window: rows of the detector's window.

    Attributes:
        state: what `fit` learnt, tensors by name; saved with the detector.
    """

    kind: ClassVar[str] = "scorers"

    def __init__(self, channels: int, window: int) -> None:
        self.channels, self.window = channels, window
        self.state: dict[str, Tensor] = {}

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Name of each of the K scores."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """Rows that a trailing score depends on, its own included."""

    @property
    def covering(self) -> int:
        """Rows of the windows whose trailing scores are averaged offline; 1 = none."""
        return 1

    @property
    def hop(self) -> int:
        """Rows from one window to the next, offline."""
        return 1

    @property
    def least(self) -> int:
        """Rows of a recording that it can be fitted to."""
        return self.covering + self.covering // 8 + 1

    @abstractmethod
    def fit(self, parts: Sequence[Tensor], rng: Rng) -> None:
        """Learn what is normal from recordings (T, C), each at least two windows long."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back a `state` that was saved."""
        self.state = state

    @abstractmethod
    def trailing(self, values: Tensor, hop: int = 1) -> Tensor:
        """Score every `hop`-th row of values (T, C), from row ``reach - 1`` on: (N, K)."""


class WindowScorer(Scorer):
    """Scores windows of `rows` rows, which begin `hop` rows apart offline.

    Args:
        channels: C.
        window: rows of the detector's window.
        rows: of a window here, rounded down to whole hops.
        hops: windows that begin within one window's length, offline.
    """

    def __init__(self, channels: int, window: int, rows: int, hops: int) -> None:
        super().__init__(channels, window)
        self._hop = max(1, rows // hops)
        self.rows = rows - rows % self._hop

    @property
    def reach(self) -> int:
        """The window."""
        return self.rows

    @property
    def covering(self) -> int:
        """The window."""
        return self.rows

    @property
    def hop(self) -> int:
        """The window over `hops`."""
        return self._hop


def online(scorer: Scorer, scaled: Tensor) -> Tensor:
    """Return trailing scores (T, K) of every row; NaN for the first ``reach - 1``."""
    before = min(scorer.reach - 1, len(scaled))
    unknown = torch.full((before, len(scorer.names)), torch.nan)
    if before == len(scaled):
        return unknown
    return torch.cat([unknown, scorer.trailing(scaled)])


def offline(scorer: Scorer, scaled: Tensor) -> Tensor:
    """Return scores (T, K) of every row, averaged over the windows that hold it.

    T is at least the reach: nothing before the first row is made up, so that the first rows have
    the score of the first window that is known.
    """
    found = scorer.trailing(scaled, scorer.hop)
    return _averaged(found, scorer, len(scaled))


def _averaged(scores: Tensor, scorer: Scorer, rows: int) -> Tensor:
    """Spread scores (N, K) of windows over the rows they hold, and average: (rows, K).

    Rows that no window holds take the score of the nearest one.
    """
    begins = scorer.reach - scorer.covering + scorer.hop * torch.arange(len(scores))
    total = torch.cat([scores.new_zeros(1, scores.shape[1]).double(), scores.double().cumsum(0)])
    row = torch.arange(rows)
    low = torch.searchsorted(begins + scorer.covering - 1, row).clamp(max=len(scores) - 1)
    high = torch.searchsorted(begins, row, right=True)
    high = torch.maximum(high, low + 1).clamp(max=len(scores))
    return ((total[high] - total[low]) / (high - low)[:, None]).float()
