"""What methods that predict one view from another share: a head per view, pairs of views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import torch
from torch import Tensor

from seqcl.batch import Encoded
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.methods.base import known_of
from seqcl.registry import Spec

__all__ = ["build_predictor", "contrast", "crossed", "project"]


def build_predictor(spec: Spec[Head], head: Head) -> Head:
    """Build a map from projections to projections; raises ValueError where it is none."""
    predictor = spec.build(head.out_dim)
    if predictor.out_dim != head.out_dim:
        raise ValueError(
            f"predictor({spec.name}) gives {predictor.out_dim} features and the head "
            f"{head.out_dim}; a prediction is compared with a projection: set out_dim of both alike"
        )
    return predictor


def project(head: Head, encoded: tuple[Encoded, ...]) -> tuple[Tensor, ...]:
    """Return the projection of each view, in calls of their own.

    So batch norm sees one view at a time, as in the papers of BYOL and those after it; SimCLR's
    sees all of them.
    """
    return tuple(head(one.pooled) for one in encoded)


def crossed(
    loss: Callable[[Tensor, Tensor], Tensor], own: Sequence[Tensor], others: Sequence[Tensor]
) -> Tensor:
    """Return the mean of ``loss(own[i], others[j])`` over the ordered pairs of views, i not j."""
    pairs = permutations(range(len(own)), 2)
    return torch.stack([loss(own[i], others[j]) for i, j in pairs]).mean()


def contrast(
    loss: PairLoss, own: Sequence[Tensor], others: Sequence[Tensor], encoded: tuple[Encoded, ...]
) -> Tensor:
    """Return `crossed` of a loss that may know the records; labels only where it needs them."""
    known = known_of(encoded[0].view, loss)
    return crossed(lambda a, b: loss(a, b, known), own, others)
