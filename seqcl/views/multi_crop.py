"""Multi-crop: a few long views and several short ones (SwAV, Caron et al., arXiv 2006.09882)."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Frontend, ViewGenerator
from seqcl.views.chain import AroundFrontend
from seqcl.views.window import random_start, share, window, window_lengths

__all__ = ["MultiCrop"]

Fraction = Annotated[float, Gt(0), Le(1)]


class MultiCrop(ViewGenerator):
    """Global crops of one length, then local crops of a shorter one, each at a random place.

    Crops are windows of whole steps, so the time scale stays (the paper resizes its crops; a
    `crop` or `speed` in `before` does that here). Views of one length share an encoder call. In a
    batch of unequal lengths each record gives its share.

    Args:
        global_views: how many long views; they come first.
        global_fraction: their length as a share of the record.
        local_views: how many short views.
        local_fraction: their length as a share of the record; not above `global_fraction`
            (ValueError).
        before, after: augmentations around the front end.
    """

    def __init__(
        self,
        *,
        global_views: Annotated[int, Ge(1), Le(64)] = 2,
        global_fraction: Fraction = 0.8,
        local_views: Annotated[int, Ge(0), Le(64)] = 4,
        local_fraction: Fraction = 0.4,
        before: tuple[Spec[Augmentation], ...] = (),
        after: tuple[Spec[Augmentation], ...] = (),
    ) -> None:
        if local_fraction > global_fraction:
            raise ValueError(
                f"MultiCrop: local_fraction is {local_fraction} and global_fraction is "
                f"{global_fraction}; a local crop must not be longer than a global one"
            )
        self.fractions = (global_fraction,) * global_views + (local_fraction,) * local_views
        self.around = AroundFrontend(before, after)

    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> tuple[Batch, ...]:
        """Return the global views, then the local ones."""
        streams = [rng.fork(view) for view in range(len(self.fractions))]
        return tuple(
            self.around(_crop(batch, fraction, stream), frontend, stream)
            for fraction, stream in zip(self.fractions, streams, strict=True)
        )


def _crop(batch: Batch, fraction: float, rng: Rng) -> Batch:
    total = batch.values.shape[-1]
    steps = max(1, round(fraction * total))
    slack = share(batch, total) - window_lengths(batch, steps)
    return window(batch, random_start(batch, slack, rng), steps)
