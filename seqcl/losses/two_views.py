"""Row statistics of two views: every row of either is an anchor, all rows are its columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from seqcl.losses.exclusion import Exclusion, rules_of
from seqcl.losses.pairs import Pairs
from seqcl.losses.similarity import cross_lse, pair_counts, self_lse, unit_rows

__all__ = ["TwoViews", "halves"]


@dataclass(frozen=True, slots=True)
class TwoViews:
    """Two views of N records, the anchors among them, and what is no negative.

    With u the 2N unit rows of both views and s_ij = u_i . u_j / temperature, the statistics are
    of 2R anchors: the R records of `anchors` in the first view, then in the second.
    """

    z: Tensor
    """(2N, D) rows u / sqrt(temperature) of the first view, then of the second."""
    temperature: float | Tensor
    exclusion: Exclusion | None
    anchors: slice | None
    """Records that are anchors; None = all."""

    @staticmethod
    def of(
        a: Tensor,
        b: Tensor,
        temperature: float | Tensor,
        exclusion: Exclusion | None = None,
        anchors: slice | None = None,
    ) -> TwoViews:
        """Take two views (N, D), rows of any scale."""
        z = unit_rows(torch.cat([a, b]), temperature**-0.5)
        return TwoViews(z, temperature, exclusion, anchors)

    @property
    def records(self) -> int:
        """N."""
        return len(self.z) // 2

    @property
    def own(self) -> slice:
        """The records that are anchors."""
        return slice(0, self.records) if self.anchors is None else self.anchors

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return the rows of z that are anchors, of the first view and of the second: (R, D)."""
        first, second = self.z.chunk(2)
        if self.anchors is None:
            return first, second
        return first[self.anchors], second[self.anchors]

    def positives(self) -> Tensor:
        """Return the score of each anchor's record with its other view: (R,)."""
        first, second = self.rows()
        return (first * second).sum(1)

    def lse(self, *, positive: bool, power: float = 1.0) -> Tensor:
        """Return ``log(sum_j exp(power s_ij))`` over the negatives of each anchor: (2R,).

        With `positive`, the anchor's other view is in the sum too. Minus infinity, without a
        gradient, where the sum is empty.
        """
        z = self.z if power == 1 else self.z * power**0.5
        if self.anchors is None:
            return self_lse(z, self._bound(power), self._pairs(z, z, 0, positive=positive))
        return torch.cat(
            [
                cross_lse(rows, z, self._pairs(rows, z, first, positive=positive))
                for rows, first in halves(z, self.anchors)
            ]
        )

    def _bound(self, power: float) -> float | None:
        """Return the largest score there can be; None where to ask would wait for the device."""
        temperature = self.temperature
        if isinstance(temperature, Tensor):
            if temperature.device.type != "cpu":
                return None
            temperature = temperature.detach().item()
        return power / temperature

    def negatives(self) -> float | Tensor:
        """Return how many negatives each anchor has: one number, or (2R,) with an exclusion."""
        if self.exclusion is None:
            return 2 * self.records - 2
        return torch.cat(
            [
                pair_counts(rows, self.z, self._pairs(rows, self.z, first, positive=False))
                for rows, first in halves(self.z, self.own)
            ]
        )

    def _pairs(self, rows: Tensor, z: Tensor, first: int, *, positive: bool) -> Pairs:
        """Return which pairs count for anchors that begin at row `first` of z."""
        n = self.records
        others = (first + n, first - n)  # of these one is a diagonal of the tile, or both are
        rules = rules_of(self.exclusion, self.own, 2, rows, z)
        return Pairs((first,), others, rules) if positive else Pairs((first, *others), (), rules)


def halves(z: Tensor, own: slice) -> Iterator[tuple[Tensor, int]]:
    """Yield the rows of `own` in the first view and in the second, each with its place in z."""
    n = len(z) // 2
    first, stop, _ = own.indices(n)
    yield z[first:stop], first
    yield z[n + first : n + stop], n + first
