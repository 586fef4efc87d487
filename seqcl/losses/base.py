"""PairLoss: a loss with its options; the mathematics is a pure function beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

__all__ = ["Known", "PairLoss"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the B records of a loss besides their projections."""

    labels: Tensor | None = None
    """(B,) class codes; -1 = unknown."""
    groups: Tensor | None = None
    """(B,) group numbers: recording, machine, subject."""
    start: Tensor | None = None
    """(B,) first step of the record in its recording."""
    temperature: Tensor | None = None
    """Scalar that replaces the loss's own temperature: learnt, or on a schedule."""


@dataclass(frozen=True, kw_only=True)
class PairLoss(ABC):
    """A loss between two views whose rows correspond: ``loss(a, b) -> scalar``.

    A subclass is a frozen dataclass; its fields are the options a preset may set.
    """

    kind: ClassVar[str] = "losses"
    min_batch: ClassVar[int] = 2
    """Records below which the loss has nothing to compare and raises ValueError."""

    @property
    def needs(self) -> frozenset[str]:
        """Of labels, groups: what `known` must hold, with these options."""
        return frozenset()

    @abstractmethod
    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
