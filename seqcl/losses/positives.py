"""Who is whose positive: the other view of a record, or all rows of its class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from seqcl.losses.base import Known, PairLoss
from seqcl.losses.codes import apart, check_codes, dense, joined
from seqcl.losses.pairs import Differing, Pairs, Same
from seqcl.losses.two_views import halves

__all__ = ["Anchors", "PositivesLoss", "anchors_of"]


@dataclass(frozen=True, slots=True)
class Anchors:
    """Anchors of one view against the rows z (2N, D) of both."""

    rows: Tensor
    """(R, D)."""
    first: int
    """Place of anchor 0 in z."""
    other: int
    """Place of anchor 0's other view."""
    records: int
    """N."""
    own: Tensor | None
    """(R,) class codes of the anchors; None where the other view is the only positive."""
    codes: Tensor | None
    """(2N,) class codes of z."""

    @property
    def positives(self) -> Pairs:
        """The pairs of an anchor and a positive, where codes tell them."""
        assert self.own is not None
        assert self.codes is not None
        return Pairs((self.first,), (), (Differing(self.own, self.codes),))

    @property
    def negatives(self) -> Pairs:
        """The pairs of an anchor and a negative."""
        if self.own is None or self.codes is None:
            return Pairs((self.first, self.other))
        return Pairs((self.first,), (), (Same(self.own, self.codes),))

    def counts(self) -> tuple[Tensor, Tensor]:
        """Return how many positives and negatives each anchor has: two of (R,)."""
        if self.own is None or self.codes is None:
            ones = self.rows.new_ones(len(self.rows))
            return ones, ones * (2 * self.records - 2)
        ones = self.rows.new_ones(len(self.codes))
        sizes = self.rows.new_zeros(len(self.codes)).index_add(0, self.codes, ones)[self.own]
        return sizes - 1, 2 * self.records - sizes


def anchors_of(name: str, z: Tensor, labels: Tensor | None, own: slice | None) -> Iterator[Anchors]:
    """Yield the anchors of the first view and of the second.

    Args:
        name: of the loss, for the error where labels are not one whole number a record.
        z: (2N, D) rows of both views.
        labels: (N,) class codes, below 0 = unknown; None = other views alone are positives.
        own: the records that are anchors; None = all.
    """
    n = len(z) // 2
    own = slice(0, n) if own is None else own
    codes = None
    if labels is not None:
        check_codes(name, "labels", labels, n)
        codes = dense(apart(labels))
    for rows, first in halves(z, own):
        yield Anchors(
            rows,
            first,
            (first + n) % (2 * n),
            n,
            None if codes is None else codes[own],
            None if codes is None else codes.repeat(2),
        )


@dataclass(frozen=True, kw_only=True)
class PositivesLoss(PairLoss):
    """A loss whose positives are told by labels, or are the other view alone."""

    positives: Literal["label", "view"] = "view"
    """view: the other view alone (and copies of the record), so that no label is used; label: all
    rows of the anchor's class, and for records without a label their other view."""

    @property
    def needs(self) -> frozenset[str]:
        """Labels, where they tell the positives."""
        return frozenset({"labels"} if self.positives == "label" else ())

    @property
    def together(self) -> frozenset[str]:
        """Labels, where they tell the positives."""
        return self.needs

    def asking(self, need: str) -> str:
        """Return the option that asks for labels."""
        return f"positives={self.positives}"

    def labels(self, known: Known) -> Tensor | None:
        """Return the codes that tell positives; None = other views alone.

        Where a batch holds a record more than once, its copies are positives.
        """
        if self.positives == "view":
            return known.records
        return joined(known.labels, known.records)
