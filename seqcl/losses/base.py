"""PairLoss: a loss with its options; the mathematics is a pure function beside it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor

__all__ = [
    "Known",
    "PairLoss",
    "check_temperature",
    "check_views",
    "refuse_temperature",
    "temperature_of",
]


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
    recordings: Tensor | None = None
    """(B,) recording that the record was cut from; -1 = unknown."""
    records: Tensor | None = None
    """(B,) number of the record, where a batch may hold one more than once: copies of a record
    are no negatives of each other. None = each is there once."""


@dataclass(frozen=True, kw_only=True)
class PairLoss(ABC):
    """A loss between two views whose rows correspond: ``loss(a, b) -> scalar``.

    A subclass is a frozen dataclass; its fields are the options a preset may set.
    """

    kind: ClassVar[str] = "losses"

    @property
    def min_batch(self) -> int:
        """Records below which the loss has nothing to compare and raises ValueError."""
        return 2

    @property
    def needs(self) -> frozenset[str]:
        """Of labels, groups, recordings: what `known` must hold, with these options."""
        return frozenset()

    @property
    def together(self) -> frozenset[str]:
        """Of `needs`, what tells positives: batches must hold two records that share it."""
        return frozenset()

    def asking(self, need: str) -> str:
        """Return the option that makes it need this, as it is set; empty where it always does."""
        return ""

    @property
    def has_temperature(self) -> bool:
        """Whether `known.temperature` can take the place of an option; else it is refused."""
        return any(option.name == "temperature" for option in fields(self))

    @abstractmethod
    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the mean loss over the anchors of `a` and `b`, both (B, D)."""


def temperature_of(own: float, known: Known | None) -> float | Tensor:
    """Return the temperature that `known` sets, else the loss's own."""
    return own if known is None or known.temperature is None else known.temperature


def refuse_temperature(name: str, known: Known | None) -> None:
    """Raise ValueError where `known` sets a temperature for a loss that has none."""
    if known is not None and known.temperature is not None:
        raise ValueError(
            f"{name} has no temperature to learn or to schedule; leave the method's temperature "
            "out, or take a loss that has one, as nt_xent does"
        )


def check_views(name: str, a: Tensor, b: Tensor, least: int = 2) -> None:
    """Raise ValueError unless `a` and `b` are both (N, D) with N at least `least`."""
    if a.dim() != 2 or a.shape != b.shape:
        raise ValueError(
            f"{name}: a is {tuple(a.shape)} and b is {tuple(b.shape)}; "
            "both need the same number of rows and columns"
        )
    if len(a) < least:
        raise ValueError(f"{name}: {len(a)} records have no negatives; at least {least} are needed")


def check_temperature(name: str, temperature: float | Tensor) -> None:
    """Raise ValueError unless `temperature` is above 0 and finite; a tensor is not read."""
    if not isinstance(temperature, Tensor) and not 0 < temperature < math.inf:
        raise ValueError(f"{name}: temperature is {temperature}; it must be above 0 and finite")
