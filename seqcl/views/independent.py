"""Independent views: each record augmented anew for every view, as in SimCLR."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from seqcl.batch import Axes, Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Frontend, ViewGenerator
from seqcl.views.chain import AroundFrontend

__all__ = ["Independent"]


class Independent(ViewGenerator):
    """Views that differ by their draws alone, all of the records' T steps or pixels.

    Args:
        views: how many.
        before: augmentations before the front end.
        after: augmentations after the front end; without any `before` it runs once for all views.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CT", "CHW")

    def __init__(
        self,
        *,
        views: Annotated[int, Ge(1), Le(1024)] = 2,
        before: tuple[Spec[Augmentation], ...] = (),
        after: tuple[Spec[Augmentation], ...] = (),
    ) -> None:
        self.views = views
        self.around = AroundFrontend(before, after)

    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> tuple[Batch, ...]:
        """Return the views."""
        streams = [rng.fork(view) for view in range(self.views)]
        if self.around.before.steps:
            return tuple(self.around(batch, frontend, stream) for stream in streams)
        seen = frontend(batch)
        return tuple(self.around.finish(seen, stream) for stream in streams)
