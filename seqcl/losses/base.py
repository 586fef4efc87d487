"""PairLoss: a loss with its options; the mathematics is a pure function beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

__all__ = ["PairLoss"]


@dataclass(frozen=True, kw_only=True)
class PairLoss(ABC):
    """A loss between two views whose rows correspond: ``loss(a, b) -> scalar``.

    A subclass is a frozen dataclass; its fields are the options a preset may set.
    """

    kind: ClassVar[str] = "losses"
    min_batch: ClassVar[int] = 2
    """Records below which the loss has nothing to compare and raises ValueError."""

    @abstractmethod
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""
