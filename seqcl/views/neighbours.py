"""Neighbouring windows as views (PaAno, ICLR 2026: the patch one or two steps away)."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Frontend, ViewGenerator
from seqcl.views.chain import AroundFrontend
from seqcl.views.window import random_start, share, window, window_lengths

__all__ = ["Neighbours"]


class Neighbours(ViewGenerator):
    """Two windows of each record, a few steps apart; which of them comes first is random.

    The dataset reads `extra_steps` = `reach` steps more than a window, so both windows have the
    full length. A batch of unequal lengths gives shorter records their share of the window.

    Args:
        gap: smallest distance between the starts of the two windows, in steps.
        reach: largest distance, in steps; ``gap`` = ``reach`` = the window length gives windows
            side by side. Below `gap` it is refused (ValueError).
        before, after: augmentations around the front end.
    """

    def __init__(
        self,
        *,
        gap: Annotated[int, Ge(0)] = 1,
        reach: Annotated[int, Ge(1)] = 2,
        before: tuple[Spec[Augmentation], ...] = (),
        after: tuple[Spec[Augmentation], ...] = (),
    ) -> None:
        if reach < gap:
            raise ValueError(f"Neighbours: reach is {reach}; it must be at least gap, {gap}")
        self.gap = gap
        self.extra_steps = reach
        self.around = AroundFrontend(before, after)

    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> tuple[Batch, ...]:
        """Return the two views, each `extra_steps` shorter than the batch."""
        steps = batch.values.shape[-1] - self.extra_steps
        if steps < 1:
            raise ValueError(
                f"Neighbours: a batch of {steps + self.extra_steps} steps has no window beside "
                f"reach={self.extra_steps}; read windows that are longer by `extra_steps`"
            )
        room = share(batch, steps + self.extra_steps) - window_lengths(batch, steps)
        choices = torch.full((1,), self.extra_steps - self.gap, device=room.device)
        distance = torch.minimum(self.gap + random_start(batch, choices, rng), room)
        early = random_start(batch, room - distance, rng)
        late = early + distance
        swap = rng.bernoulli(len(batch), 0.5)
        starts = (torch.where(swap, late, early), torch.where(swap, early, late))
        return tuple(
            self.around(window(batch, start, steps), frontend, rng.fork(view))
            for view, start in enumerate(starts)
        )
