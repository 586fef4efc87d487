"""False negatives: other records of the batch that are likely the same thing as the anchor.

Huynh et al. 2022 (arXiv 2011.11765) call it false negative elimination. A loss with negatives
derives from `ExcludingLoss` and so gets the three options that name them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from seqcl.losses.base import Known, PairLoss
from seqcl.losses.codes import apart, check_codes
from seqcl.losses.pairs import Near, Rule, Same, Similar

__all__ = ["ExcludingLoss", "Exclusion", "rules_of"]

_APART = 2**40
"""Steps between two recordings on the line of time that holds them all."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Which records of a batch are no negatives of each other; the positive always stays."""

    same: tuple[Tensor, ...] = ()
    """(N,) codes: records of equal code; below 0 = unknown, never excluded."""
    recordings: Tensor | None = None
    """(N,) recording of each record, below 0 = unknown; with `start`."""
    start: Tensor | None = None
    """(N,) first step in the recording."""
    steps: int = 0
    """Records of one recording whose starts are fewer steps than this apart."""
    above: float | None = None
    """Pairs of a larger cosine than this."""


@dataclass(frozen=True, kw_only=True)
class ExcludingLoss(PairLoss):
    """A loss with negatives, of which some may be excluded as false ones."""

    exclude: tuple[Literal["label", "group"], ...] = ()
    """Records of the anchor's label or group are no negatives; unknown ones always are."""
    exclude_steps: Annotated[int, Ge(1)] | None = None
    """Windows of the anchor's recording that start fewer steps than this away are no negatives."""
    exclude_above: Annotated[float, Gt(-1), Lt(1)] | None = None
    """Rows of another record whose cosine with the anchor is above this are no negatives."""

    @property
    def needs(self) -> frozenset[str]:
        """Labels, groups and recordings, where an option asks for them."""
        named = {f"{name}s" for name in self.exclude}
        return frozenset(named | ({"recordings"} if self.exclude_steps is not None else set()))

    def asking(self, need: str) -> str:
        """Return the option that asks for it."""
        named = need.removesuffix("s")
        return f"exclude=[{named}]" if named in self.exclude else "exclude_steps"

    def exclusion(self, known: Known | None) -> Exclusion | None:
        """Return the rule for the records that `known` describes, None where nothing is excluded.

        Copies of a record always are. Raises ValueError where `known` lacks what an option needs.
        """
        known = Known() if known is None else known
        copies = () if known.records is None else (known.records,)
        if not self.exclude and self.exclude_steps is None and self.exclude_above is None:
            return Exclusion(copies) if copies else None
        same = copies + tuple(self._told(known, f"{name}s", "exclude") for name in self.exclude)
        if self.exclude_steps is None:
            return Exclusion(same, above=self.exclude_above)
        names = ("recordings", "start")
        recordings, start = (self._told(known, name, "exclude_steps") for name in names)
        return Exclusion(same, recordings, start, self.exclude_steps, self.exclude_above)

    def _told(self, known: Known, name: str, option: str) -> Tensor:
        found: Tensor | None = getattr(known, name)
        if found is None:
            raise ValueError(
                f"{type(self).__name__}: {option} needs the {name} of the records, which are not "
                f"known; give them, or leave {option} out"
            )
        return found


def rules_of(
    exclusion: Exclusion | None, own: slice, copies: int, anchors: Tensor, columns: Tensor
) -> tuple[Rule, ...]:
    """Return the rules of an exclusion for anchors against columns.

    Raises ValueError where its codes are not one whole number a record.

    Args:
        exclusion: over all N records; None = no rule.
        own: the records that the anchors (R, D) are, `copies` times one after another where the
            anchors are as many rows as the columns.
        copies: how often the N records stand in the columns, one after another.
        anchors: (R, D); its norms make scores cosines.
        columns: (copies * N, D).
    """
    if exclusion is None:
        return ()
    n = len(columns) // copies
    repeats = len(anchors) // len(range(*own.indices(n)))

    def both(codes: Tensor) -> tuple[Tensor, Tensor]:
        check_codes("exclusion", "codes", codes, n)
        return codes[own].repeat(repeats), codes.repeat(copies)

    rules: list[Rule] = [Same(*both(apart(codes))) for codes in exclusion.same]
    if exclusion.recordings is not None and exclusion.start is not None:
        places = apart(exclusion.recordings) * _APART + exclusion.start.to(torch.int64)
        rules.append(Near(*both(places), exclusion.steps))
    if exclusion.above is not None:
        norms, others = (x.detach().norm(dim=1) for x in (anchors, columns))
        rules.append(Similar(norms, others, exclusion.above))
    return tuple(rules)
