"""A stretch of each record and a stretch inside it, as in T-Loss (Franceschi et al. 2019)."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Le

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Frontend, ViewGenerator
from seqcl.views.chain import AroundFrontend
from seqcl.views.window import random_start, share, window, window_lengths

__all__ = ["SubSeries"]


class SubSeries(ViewGenerator):
    """An anchor, any stretch of a record, and a positive, any stretch of the anchor.

    Lengths are common to the batch: the positive's is drawn uniformly from `shortest` to all of
    the record, the anchor's from the positive's to all of the record (arXiv 1901.10738,
    algorithm 1, where `shortest` is one step). Places are each record's own. In a batch of unequal
    lengths each record gives its share.

    Args:
        shortest: least length of the positive, as a share of the record.
        before, after: augmentations around the front end.
    """

    def __init__(
        self,
        *,
        shortest: Annotated[float, Gt(0), Le(1)] = 0.1,
        before: tuple[Spec[Augmentation], ...] = (),
        after: tuple[Spec[Augmentation], ...] = (),
    ) -> None:
        self.shortest = shortest
        self.around = AroundFrontend(before, after)

    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> tuple[Batch, ...]:
        """Return the anchor and the positive; their T differ."""
        total = batch.values.shape[-1]
        inner = int(rng.host.integers(max(1, round(self.shortest * total)), total + 1))
        outer = int(rng.host.integers(inner, total + 1))
        long, short = window_lengths(batch, outer), window_lengths(batch, inner)
        start = random_start(batch, share(batch, total) - long, rng)
        inside = start + random_start(batch, long - short, rng)
        return tuple(
            self.around(window(batch, first, steps), frontend, rng.fork(v))
            for v, (first, steps) in enumerate(((start, outer), (inside, inner)))
        )
