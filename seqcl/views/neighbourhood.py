"""A window, one near it and one far from it, as in TNC (Tonekaboni et al. 2021, 2106.00750)."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Frontend, ViewGenerator
from seqcl.views.chain import AroundFrontend
from seqcl.views.window import random_start, share, window, window_lengths

__all__ = ["Neighbourhood"]


class Neighbourhood(ViewGenerator):
    """Three windows of one recording: an anchor, a neighbour and one that is no neighbour.

    The neighbour's distance is normal; the far window is any at least `far` windows away. So
    recordings must be longer than a window: records are read whole, or in a long `data.window`.
    The paper widens the neighbourhood until a test calls the signal non-stationary; here its width
    is an option, since a test of every window costs more than a training step.

    Args:
        window: length of a window as a share of the record.
        near: standard deviation of the neighbour's distance, in windows; it stays below `far`.
        far: least distance of the far window, in windows; 1 = they do not overlap. Refused
            (ValueError) where a window in the middle of the record would have no far one.
        before, after: augmentations around the front end.
    """

    def __init__(
        self,
        *,
        window: Annotated[float, Gt(0), Lt(1)] = 0.25,
        near: Annotated[float, Ge(0), Le(10)] = 0.25,
        far: Annotated[float, Gt(0), Le(100)] = 1.0,
        before: tuple[Spec[Augmentation], ...] = (),
        after: tuple[Spec[Augmentation], ...] = (),
    ) -> None:
        if window * (1 + 2 * far) > 1:
            raise ValueError(
                f"Neighbourhood: window is {window} and far {far}, so a record needs "
                f"{1 + 2 * far:g} windows and has {1 / window:g}; recordings must be longer than "
                "the window: lower `window` (and read longer records), or `far`"
            )
        self.window, self.near, self.far = window, near, far
        self.around = AroundFrontend(before, after)

    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> tuple[Batch, ...]:
        """Return the anchor, the neighbour and the far window."""
        total = batch.values.shape[-1]
        steps = max(1, round(self.window * total))
        if total <= steps:
            raise ValueError(
                f"Neighbourhood: a record of {total} step is one window; recordings must be longer "
                "than the window: raise data.window, or use views that need none beside"
            )
        own = window_lengths(batch, steps)
        slack = share(batch, total) - own
        least = torch.minimum((own * self.far).ceil().long(), (slack + 1) // 2)
        anchor = random_start(batch, slack, rng)
        starts = (
            anchor,
            self._near(anchor, own, slack, least, rng),
            _far(anchor, slack, least, rng),
        )
        return tuple(
            self.around(window(batch, start, steps), frontend, rng.fork(v))
            for v, start in enumerate(starts)
        )

    def _near(self, anchor: Tensor, own: Tensor, slack: Tensor, least: Tensor, rng: Rng) -> Tensor:
        reach = (least - 1).clamp(min=0)
        distance = (rng.normal(len(anchor)) * self.near * own).round().long()
        moved = anchor + torch.maximum(torch.minimum(distance, reach), -reach)
        return torch.minimum(moved.clamp(min=0), slack)


def _far(anchor: Tensor, slack: Tensor, least: Tensor, rng: Rng) -> Tensor:
    """Draw a start from all that are `least` or more from the anchor's, uniformly."""
    left = (anchor - least + 1).clamp(min=0)
    right = (slack - anchor - least + 1).clamp(min=0)
    draws = rng.uniform(len(anchor), 0.0, 1.0)
    place = torch.minimum((draws * (left + right)).long(), left + right - 1)
    start = torch.where(place < left, place, anchor + least + place - left)
    return torch.minimum(start.clamp(min=0), slack)
