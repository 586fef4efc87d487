"""A weak and a strong view of each record, as in TS-TCC (Eldele et al. 2021, 2106.14112)."""

from __future__ import annotations

from typing import ClassVar

from seqcl.batch import Axes, Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Frontend, ViewGenerator
from seqcl.views.chain import AroundFrontend

__all__ = ["WeakStrong"]


class WeakStrong(ViewGenerator):
    """Two views of all the records' T steps or pixels, each with augmentations of its own.

    Without `weak` ones, the first view is the record as it is (TF-C).

    Args:
        weak: augmentations of the first view, before the front end.
        strong: augmentations of the second view, before the front end.
        before: augmentations of both views, ahead of these.
        after: augmentations of both views, after the front end.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CT", "CHW")

    def __init__(
        self,
        *,
        weak: tuple[Spec[Augmentation], ...] = (),
        strong: tuple[Spec[Augmentation], ...] = (),
        before: tuple[Spec[Augmentation], ...] = (),
        after: tuple[Spec[Augmentation], ...] = (),
    ) -> None:
        self.sides = tuple(AroundFrontend((*before, *own), after) for own in (weak, strong))

    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> tuple[Batch, ...]:
        """Return the weak view and the strong view."""
        return tuple(side(batch, frontend, rng.fork(v)) for v, side in enumerate(self.sides))
