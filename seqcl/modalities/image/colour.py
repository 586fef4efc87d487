"""Augmentations of colour: distortion, grayscale, solarise. Values lie in [0, 1]."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Axes, Batch
from seqcl.modalities.image.constants import constant
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Params, ValueAugmentation, check_range

__all__ = ["ColourDistortion", "Grayscale", "Solarise"]

Strength = Annotated[float, Ge(0), Le(1)]

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance (ITU-R BT.601)."""
_CONTRAST = 1
"""Place of contrast among brightness, contrast, saturation and hue."""
_TO_YIQ = (_LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
"""Luminance and the I and Q axes of YIQ, in which a turn changes the hue."""


@dataclass(frozen=True, kw_only=True)
class LinearColour(Augmentation):
    """A colour map of each record that is linear: one matrix and one offset, then [0, 1].

    A record that is not chosen has the identity, which changes no bit of it.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)

    @abstractmethod
    def matrix(self, pixels: Tensor, params: Params) -> tuple[Tensor, Tensor | None]:
        """Return (B, C, C) and (B, C, 1), or None for no offset; `pixels` is (B, C, H * W)."""

    def apply(self, batch: Batch, params: Params) -> Batch:
        """Map the colours of the chosen records, in float32."""
        pixels = batch.values.flatten(2).float()
        matrix, offset = self.matrix(pixels, params)
        chosen = params["chosen"]
        if chosen is not None:
            chosen = chosen.view(-1, 1, 1)
            same = torch.eye(pixels.shape[1], device=pixels.device)
            matrix = torch.where(chosen, matrix, same)
            offset = None if offset is None else offset * chosen
        mapped = (
            torch.bmm(matrix, pixels)
            if offset is None
            else torch.baddbmm(offset, matrix, pixels).clamp_(0, 1)
        )
        return batch.with_values(mapped.view_as(batch.values).to(batch.values.dtype))


@dataclass(frozen=True, kw_only=True)
class ColourDistortion(LinearColour):
    """Change brightness, contrast, saturation and hue, in an order drawn for each record.

    As in SimCLR (arXiv 2002.05709, appendix A), by one matrix and one offset per record. Each of
    the first three equals torchvision's functional operation. In a row they differ from
    ColorJitter in that values are cut to [0, 1] once, at the end, and not after each. Hue is a
    turn of the chroma plane of YIQ, which keeps luminance, where torchvision shifts the angle of
    HSV, which keeps the largest channel.

    Grey images have neither saturation nor hue: both leave them alone. Other than 1 or 3 channels
    have none that are defined: ValueError unless both are 0. Contrast then works on the distance
    from the mean of all channels.
    """

    p: Annotated[float, Ge(0), Le(1)] = 0.8
    brightness: Strength = 0.4
    """The factor is drawn from 1 - this to 1 + this; 0 = unchanged."""
    contrast: Strength = 0.4
    """The same for the distance from the mean luminance."""
    saturation: Strength = 0.4
    """The same for the distance from the pixel's own grey."""
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.1
    """Largest turn either way; 0.5 is half of the circle."""

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `factors` (B, 3), `turn` (B,) in radians and `order` (B, 4)."""
        rows = len(batch)
        strength = (self.brightness, self.contrast, self.saturation)
        spread = rng.uniform(rows, -1.0, 1.0, 3)
        factors = [1 + spread[:, place] * each for place, each in enumerate(strength)]
        return {
            "factors": torch.stack(factors, dim=1),
            "turn": rng.uniform(rows, -1.0, 1.0) * (2 * math.pi * self.hue),
            "order": rng.uniform(rows, 0.0, 1.0, 4).argsort(dim=1),
        }

    def matrix(self, pixels: Tensor, params: Params) -> tuple[Tensor, Tensor | None]:
        """Compose the four maps; contrast adds the mean luminance that it meets."""
        rows, channels = pixels.shape[:2]
        if channels not in (1, 3) and (self.saturation or self.hue):
            raise ValueError(
                f"ColourDistortion: saturation and hue need red, green and blue, and the images "
                f"have {channels} channels; set saturation and hue to 0"
            )
        order: Tensor = params["order"]
        row = torch.arange(rows, device=pixels.device).unsqueeze(1)
        maps = self._maps(channels, params)[row, order]  # (B, 4, C, C), in each record's order
        # Contrast draws towards the mean luminance that it meets; the others add nothing.
        pull = (1 - params["factors"][:, 1:2]) * (order == _CONTRAST)  # (B, 4)
        luma = _luma(channels, pixels)
        first = mean = pixels.mean(2, keepdim=True)
        matrix: Tensor | None = None
        for step, linear in enumerate(maps.unbind(1)):
            grey = torch.matmul(luma, mean) * pull[:, step].view(-1, 1, 1)
            mean = torch.baddbmm(grey, linear, mean)
            matrix = linear if matrix is None else torch.bmm(linear, matrix)
        assert matrix is not None
        return matrix, mean - torch.bmm(matrix, first)

    def _maps(self, channels: int, params: Params) -> Tensor:
        """Return the linear parts (B, 4, C, C) of brightness, contrast, saturation and hue."""
        bright, contrast, saturation = params["factors"].view(-1, 3, 1, 1).unbind(1)
        same = torch.eye(channels, device=bright.device)
        if channels != 3:
            plain = same.expand(len(bright), -1, -1)
            return torch.stack((bright * same, contrast * same, plain, plain), dim=1)
        grey = constant(_LUMA, same).expand(3, 3)
        cos, sin = params["turn"].cos(), params["turn"].sin()
        turn = torch.zeros(len(cos), 3, 3, device=cos.device)
        turn[:, 0, 0] = 1
        turn[:, 1, 1], turn[:, 1, 2] = cos, -sin
        turn[:, 2, 1], turn[:, 2, 2] = sin, cos
        hue = constant(_from_yiq(), same) @ turn @ constant(_TO_YIQ, same)
        return torch.stack(
            (bright * same, contrast * same, saturation * same + (1 - saturation) * grey, hue),
            dim=1,
        )


@dataclass(frozen=True, kw_only=True)
class Grayscale(LinearColour):
    """Replace colours by their luminance, in all three channels.

    Grey images stay; other than 1 or 3 channels are a ValueError.
    """

    p: Annotated[float, Ge(0), Le(1)] = 0.2

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw nothing: luminance has no parameters."""
        return {}

    def matrix(self, pixels: Tensor, params: Params) -> tuple[Tensor, Tensor | None]:
        """Return the luminance, once for each channel."""
        channels = pixels.shape[1]
        if channels not in (1, 3):
            raise ValueError(
                f"Grayscale: luminance needs red, green and blue, and the images have {channels} "
                "channels; leave it out"
            )
        return _luma(channels, pixels).expand(len(pixels), channels, channels), None


@dataclass(frozen=True, kw_only=True)
class Solarise(ValueAugmentation):
    """Invert the values that reach a threshold, as in BYOL (arXiv 2006.07733)."""

    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)

    p: Annotated[float, Ge(0), Le(1)] = 0.2
    threshold: tuple[Annotated[float, Gt(0), Le(1)], Annotated[float, Gt(0), Le(1)]] = (0.4, 0.6)
    """Range of the threshold, drawn uniformly; the paper has 0.5."""

    def __post_init__(self) -> None:
        check_range(self, "threshold")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `threshold` (B, 1, 1, 1)."""
        return {"threshold": rng.uniform(len(batch), *self.threshold, 1, 1, 1)}

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Invert what is bright."""
        bright = batch.values >= params["threshold"]
        return torch.where(bright, 1 - batch.values, batch.values)


@cache
def _from_yiq() -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, torch.linalg.inv(torch.tensor(_TO_YIQ)).tolist()))


def _luma(channels: int, like: Tensor) -> Tensor:
    """Return the weights of luminance (1, C): the mean where there are no three colours."""
    if channels == 3:
        return constant((_LUMA,), like)
    return like.new_full((1, channels), 1 / channels)
