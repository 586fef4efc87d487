"""A weighted sum of losses: hybrid objectives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from seqcl.losses.base import Known, PairLoss, check_views, refuse_temperature
from seqcl.registry import Spec

__all__ = ["Weighted"]


@dataclass(frozen=True, kw_only=True)
class Weighted(PairLoss):
    """Add up losses of the same two views, each times its weight.

    ``{weighted: {terms: [nt_xent, supcon], weights: [1.0, 0.5]}}``. What is known of the records
    goes to every term, a temperature to those that have one. Raises ValueError where the numbers
    of terms and weights differ.
    """

    terms: tuple[Spec[PairLoss], ...] = (Spec("losses", "nt_xent"),)
    weights: tuple[Annotated[float, Gt(0)], ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.terms or len(self.terms) != len(self.weights):
            raise ValueError(
                f"weighted: {len(self.terms)} terms and {len(self.weights)} weights; "
                "give one weight for each of one or more terms"
            )

    @cached_property
    def losses(self) -> tuple[PairLoss, ...]:
        """The losses that are added up."""
        return tuple(term.build() for term in self.terms)

    @property
    def min_batch(self) -> int:
        """What the most demanding term needs."""
        return max(loss.min_batch for loss in self.losses)

    @property
    def needs(self) -> frozenset[str]:
        """What any term needs."""
        return frozenset().union(*(loss.needs for loss in self.losses))

    @property
    def together(self) -> frozenset[str]:
        """What tells the positives of any term."""
        return frozenset().union(*(loss.together for loss in self.losses))

    def asking(self, need: str) -> str:
        """Return the term that needs it, and which of its options asks for it."""
        loss = next(loss for loss in self.losses if need in loss.needs)
        option = loss.asking(need)
        return f"term {type(loss).__name__}{option and f' with {option}'}"

    @property
    def has_temperature(self) -> bool:
        """Whether any term has one."""
        return any(loss.has_temperature for loss in self.losses)

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        """Return the weighted sum of the losses of `a` and `b`, both (B, D)."""
        check_views("weighted", a, b, self.min_batch)
        known = Known() if known is None else known
        if not self.has_temperature:
            refuse_temperature("weighted", known)
        without = replace(known, temperature=None)
        sums = [
            weight * loss(a, b, known if loss.has_temperature else without)
            for weight, loss in zip(self.weights, self.losses, strict=True)
        ]
        return torch.stack(sums).sum()
