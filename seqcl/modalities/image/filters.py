"""Augmentations by neighbouring pixels: Gaussian blur and Sobel edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional as F

from seqcl.batch import Axes, Batch
from seqcl.modalities.image.chosen import apply_to_chosen
from seqcl.modalities.image.constants import constant
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, check_range

__all__ = ["GaussianBlur", "Sobel"]

_TINY = 1e-8

Pixels = Annotated[float, Gt(0), Le(100)]


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(ValueAugmentation):
    """Blur each image by its own width (SimCLR, arXiv 2002.05709, appendix A).

    Edges are mirrored, as in torchvision.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)

    p: Annotated[float, Ge(0), Le(1)] = 0.5
    sigma: tuple[Pixels, Pixels] = (0.1, 2.0)
    """Range of the standard deviation in pixels, drawn uniformly."""
    radius: Annotated[int, Ge(1), Le(100)] | None = None
    """Pixels of the kernel on either side of its middle; None = a twentieth of the longer side, so
    that the kernel is a tenth of it, as in the paper."""

    def __post_init__(self) -> None:
        check_range(self, "sigma")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `sigma` (B, 1)."""
        return {"sigma": rng.uniform(len(batch), *self.sigma, 1)}

    def apply(self, batch: Batch, params: Params) -> Batch:
        """Blur the chosen images."""
        return apply_to_chosen(batch, params, super().apply)

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Blur along the rows, then along the columns, in float32."""
        rows, channels, height, width = batch.values.shape
        radius = self.radius or max(1, round(max(height, width) / 20))
        images = batch.values.float().reshape(1, rows * channels, height, width)
        for axis, side in ((3, width), (2, height)):
            reach = min(radius, side - 1)  # a mirror cannot show more than the image
            place = torch.arange(-reach, reach + 1, device=images.device)
            kernel = (-0.5 * (place / params["sigma"]).square()).softmax(dim=1)  # (B, K)
            kernel = F.threshold(kernel, _TINY, 0.0)  # numbers below the normal ones are slow
            shape = (1, 2 * reach + 1) if axis == 3 else (2 * reach + 1, 1)
            weight = kernel.repeat_interleave(channels, 0).view(-1, 1, *shape)
            margins = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
            padded = F.pad(images, margins, mode="reflect")
            images = F.conv2d(padded, weight, groups=rows * channels)
        return images.view_as(batch.values).to(batch.values.dtype)


@dataclass(frozen=True, kw_only=True)
class Sobel(ValueAugmentation):
    """Replace each channel by the length of its gradient (Sobel's operator), cut to [0, 1]."""

    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)

    p: Annotated[float, Ge(0), Le(1)] = 0.2
    gain: tuple[Pixels, Pixels] = (0.5, 1.0)
    """Range of the factor, drawn uniformly; with 1 a step from 0 to 1 across a pixel gives 4."""

    def __post_init__(self) -> None:
        check_range(self, "gain")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `gain` (B, 1, 1, 1)."""
        return {"gain": rng.uniform(len(batch), *self.gain, 1, 1, 1)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Return the length of the gradient, in float32."""
        rows, channels, height, width = batch.values.shape
        images = batch.values.float().reshape(rows * channels, 1, height, width)
        ramp = constant(((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)), images)
        weight = torch.stack((ramp, ramp.T)).unsqueeze(1)  # (2, 1, 3, 3)
        edges = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), weight)
        length: Tensor = edges.square().sum(1).sqrt().view_as(batch.values) * params["gain"]
        return length.clamp_(0, 1).to(batch.values.dtype)
