"""Augmentations in a row, and in two rows around a front end."""

from __future__ import annotations

from collections.abc import Sequence

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Frontend, Params
from seqcl.views.resample import Resampling, resample

__all__ = ["AroundFrontend", "Chain"]


class Chain:
    """Augmentations one after another, each with its own stream of `rng`.

    Step i draws from ``rng.fork(i)``, so one step more at the end does not change the others.
    Neighbouring augmentations that move steps (crop, speed, warp) are composed and interpolated
    once.
    """

    def __init__(self, specs: Sequence[Spec[Augmentation]]) -> None:
        self.steps = tuple(spec.build() for spec in specs)

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        """Return the augmented batch."""
        moves: list[tuple[Resampling, Params]] = []
        for index, step in enumerate(self.steps):
            stream = rng.fork(index)
            if isinstance(step, Resampling):
                moves.append((step, step.sample(batch, stream)))
            else:
                batch = step(resample(batch, moves), stream)
                moves = []
        return resample(batch, moves)


class AroundFrontend:
    """Augmentations before a front end (on a waveform) and after it (on a spectrogram).

    Args:
        before: drawn from ``rng.fork(0)``.
        after: drawn from ``rng.fork(1)``.
    """

    def __init__(
        self, before: Sequence[Spec[Augmentation]], after: Sequence[Spec[Augmentation]]
    ) -> None:
        self.before = Chain(before)
        self.after = Chain(after)

    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> Batch:
        """Return one view."""
        return self.finish(frontend(self.before(batch, rng.fork(0))), rng)

    def finish(self, batch: Batch, rng: Rng) -> Batch:
        """Return one view of a batch that has passed the front end already."""
        return self.after(batch, rng.fork(1))
