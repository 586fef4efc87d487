"""The pairs that count, as flat arguments of a Triton kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seqcl.losses.pairs import Differing, Near, Pairs, Same, Similar, Unsampled

__all__ = ["FlatPairs", "flatten"]

_NOWHERE = 2**30
"""A diagonal that no matrix has."""
_SKIP, _KEEP = 3, 2


@dataclass(frozen=True, slots=True)
class FlatPairs:
    """What `seqcl.losses.triton_lse` asks about pair (i, j), for R rows and M columns."""

    skip: tuple[int, ...]
    keep: tuple[int, ...]
    near: tuple[int, ...]
    """A number s for each row of `codes`: above 0, pairs whose codes are less than s apart do not
    count; below 0, those whose codes are -s or more apart."""
    codes: tuple[Tensor | None, Tensor | None]
    """(K, R) and (K, M) int64."""
    norms: tuple[Tensor | None, Tensor | None]
    """(R,) and (M,), with `above`."""
    above: float
    """The largest cosine of a pair that counts, over ln 2 as the kernel's scores are."""
    drawn: Tensor | None
    """(N,) bool."""
    first: int
    sign: int
    """1 where rows are anchors, -1 where columns are."""

    def transposed(self) -> FlatPairs:
        """Return the same pairs for columns as rows and rows as columns."""
        return replace(
            self,
            skip=tuple(-diagonal for diagonal in self.skip),
            keep=tuple(-diagonal for diagonal in self.keep),
            codes=self.codes[::-1],
            norms=self.norms[::-1],
            sign=-self.sign,
        )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a kernel."""
        skip = (*self.skip, *[_NOWHERE] * (_SKIP - len(self.skip)))
        keep = (*self.keep, *[_NOWHERE] * (_KEEP - len(self.keep)))
        return {
            **{f"skip_{k}": diagonal for k, diagonal in enumerate(skip)},
            **{f"keep_{k}": diagonal for k, diagonal in enumerate(keep)},
            "codes_i": self.codes[0],
            "codes_j": self.codes[1],
            "norms_i": self.norms[0],
            "norms_j": self.norms[1],
            "above": self.above,
            "drawn": self.drawn,
            "drawn_count": 1 if self.drawn is None else len(self.drawn),
            "first": self.first,
            "NEAR": self.near,
            "SIGN": self.sign,
        }


def flatten(pairs: Pairs) -> FlatPairs | None:
    """Return what a kernel takes; None where it knows no such rules or takes no more of them."""
    near: list[tuple[int, Tensor, Tensor]] = []
    similar: list[Similar] = []
    drawn: list[Unsampled] = []
    for rule in pairs.rules:
        if isinstance(rule, Same):
            near.append((1, rule.anchors, rule.columns))
        elif isinstance(rule, Differing):
            near.append((-1, rule.anchors, rule.columns))
        elif isinstance(rule, Near):
            near.append((rule.steps, rule.anchors, rule.columns))
        elif isinstance(rule, Similar):
            similar.append(rule)
        elif isinstance(rule, Unsampled):
            drawn.append(rule)
        else:
            return None
    if max(len(similar), len(drawn)) > 1 or len(pairs.skip) > _SKIP or len(pairs.keep) > _KEEP:
        return None
    return FlatPairs(
        skip=pairs.skip,
        keep=pairs.keep,
        near=tuple(steps for steps, _, _ in near),
        codes=(_stack([own for _, own, _ in near]), _stack([other for _, _, other in near])),
        norms=(similar[0].anchors, similar[0].columns) if similar else (None, None),
        above=similar[0].above / math.log(2) if similar else 0.0,
        drawn=drawn[0].drawn if drawn else None,
        first=drawn[0].first if drawn else 0,
        sign=1,
    )


def _stack(codes: list[Tensor]) -> Tensor | None:
    return torch.stack([code.to(torch.int64) for code in codes]) if codes else None
