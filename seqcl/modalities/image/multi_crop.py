"""Multi-crop: a few large crops and several small ones (SwAV, Caron et al., 2006.09882)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from seqcl.batch import Axes, Batch
from seqcl.modalities.image.crop import Area, ResizedCrop, Side
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Frontend, ViewGenerator
from seqcl.views.chain import AroundFrontend

__all__ = ["ImageMultiCrop"]


class ImageMultiCrop(ViewGenerator):
    """Global crops, then local crops of a smaller area, resized to fewer pixels.

    Views of one size share an encoder call.

    Args:
        global_views: how many large crops; they come first.
        global_scale: their area as a share of the image's.
        global_size: their height and width; None = the image's.
        local_views: how many small crops.
        local_scale: their area as a share of the image's.
        local_size: their height and width; None = half of the image's.
        flip: probability that a crop is mirrored.
        before, after: augmentations around the front end, of every crop.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)

    def __init__(
        self,
        *,
        global_views: Annotated[int, Ge(1), Le(64)] = 2,
        global_scale: tuple[Area, Area] = (0.25, 1.0),
        global_size: tuple[Side, Side] | None = None,
        local_views: Annotated[int, Ge(0), Le(64)] = 4,
        local_scale: tuple[Area, Area] = (0.05, 0.25),
        local_size: tuple[Side, Side] | None = None,
        flip: Annotated[float, Ge(0), Le(1)] = 0.5,
        before: tuple[Spec[Augmentation], ...] = (),
        after: tuple[Spec[Augmentation], ...] = (),
    ) -> None:
        self.views = ("global",) * global_views + ("local",) * local_views
        self.global_scale, self.global_size = global_scale, global_size
        self.local_scale, self.local_size = local_scale, local_size
        self.flip = flip
        self.around = AroundFrontend(before, after)
        self._crop("global", (1, 1)), self._crop("local", (1, 1))  # tells a reversed range now

    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> tuple[Batch, ...]:
        """Return the global views, then the local ones, whose H and W differ from theirs."""
        height, width = batch.values.shape[2:]
        made = []
        for number, view in enumerate(self.views):
            stream = rng.fork(number)
            cropped = self._crop(view, (height, width))(batch, stream.fork(2))
            made.append(self.around(cropped, frontend, stream))
        return tuple(made)

    def _crop(self, view: str, whole: tuple[int, int]) -> ResizedCrop:
        if view == "global":
            return ResizedCrop(scale=self.global_scale, size=self.global_size, flip=self.flip)
        half = (max(1, whole[0] // 2), max(1, whole[1] // 2))
        return ResizedCrop(scale=self.local_scale, size=self.local_size or half, flip=self.flip)
