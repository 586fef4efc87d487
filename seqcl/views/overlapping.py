"""Two crops that share a stretch of time, as in TS2Vec (Yue et al. 2022, arXiv 2106.10466)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Gt, Le

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Frontend, ViewGenerator, check_range
from seqcl.views.chain import AroundFrontend, Chain
from seqcl.views.resample import Resampling
from seqcl.views.window import random_start, share, window, window_lengths

__all__ = ["Overlapping"]

Fraction = Annotated[float, Gt(0), Le(1)]


class Overlapping(ViewGenerator):
    """Two crops of each record, of lengths common to the batch, at a place of each record's own.

    The first crop reaches to the left of the common stretch, the second to the right of it.
    ``Batch.start`` says where a view begins in its recording: step t of view v is recording step
    ``v.start + t``, so steps ``t`` of the first and ``t + first.start - second.start`` of the
    second are the same moment wherever both are real. Steps are counted before the front end.
    ``Batch.offset`` tells the distance on the host too, so that shapes may follow it.
    In a batch of unequal lengths each record's crops and overlap are scaled to its own length.

    Args:
        overlap: length of the common stretch as a share of the record, drawn uniformly.
        whole: whether the record itself, unaugmented, comes as one more view, for methods that
            measure records by it (`soft_records` of TS2Vec).
        before, after: augmentations around the front end. Those that move steps are refused
            (ValueError): they would lose the overlap.
    """

    aligned = True

    def __init__(
        self,
        *,
        overlap: tuple[Fraction, Fraction] = (0.2, 0.8),
        whole: bool = False,
        before: tuple[Spec[Augmentation], ...] = (),
        after: tuple[Spec[Augmentation], ...] = (),
    ) -> None:
        self.overlap, self.whole = overlap, whole
        check_range(self, "overlap")
        self.around = AroundFrontend(before, after)
        _refuse_moves("before", before, self.around.before)
        _refuse_moves("after", after, self.around.after)

    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> tuple[Batch, ...]:
        """Return the left view and the right view, whose T differ, and the record if asked for."""
        total = batch.values.shape[-1]
        common = max(1, round(rng.host.uniform(*self.overlap) * total))
        place = int(rng.host.integers(total - common + 1))
        left = int(rng.host.integers(place + 1))
        right = int(rng.host.integers(total - common - place + 1))
        # A short record's share of `left` is kept below its first crop: one step is common.
        first = window_lengths(batch, left + common)
        second = window_lengths(batch, common + right)
        shift = torch.minimum(share(batch, left), first - 1)
        span = torch.maximum(first, shift + second)
        start = random_start(batch, share(batch, total) - span, rng)
        crops = (
            replace(window(batch, start, left + common), offset=0),
            replace(window(batch, start + shift, common + right), offset=left),
        )
        views = tuple(self.around(crop, frontend, rng.fork(v)) for v, crop in enumerate(crops))
        return (*views, frontend(batch)) if self.whole else views


def _refuse_moves(side: str, specs: Sequence[Spec[Augmentation]], chain: Chain) -> None:
    for index, (spec, step) in enumerate(zip(specs, chain.steps, strict=True)):
        if isinstance(step, Resampling):
            raise ValueError(
                f"Overlapping: {side}[{index}] {spec.name!r} moves steps, so the overlap would be "
                "lost; use augmentations of values (jitter, scale, time_mask)"
            )
