"""ResizedCrop: crop, stretch, flip and rotate each image with a single resampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional as F

from seqcl.batch import Axes, Batch, Size
from seqcl.rng import Rng
from seqcl.views.base import Augmentation, Params, check_range, where_chosen

__all__ = ["ResizedCrop", "sample_at"]

Area = Annotated[float, Gt(0), Le(1)]
Ratio = Annotated[float, Ge(0.1), Le(10)]
Side = Annotated[int, Gt(0)]


@dataclass(frozen=True, kw_only=True)
class ResizedCrop(Augmentation):
    """Cut a random rectangle out of each image and resize it (Szegedy et al., 1409.4842).

    Area and aspect ratio are drawn as in torchvision's RandomResizedCrop, but once: a rectangle
    that is too long for the image is cut to its side, where torchvision draws again up to ten
    times. Places are continuous. Sampling is bilinear, with a mean over several points for each
    pixel where the output is smaller than the image (antialiasing). At the edge of the crop the
    pixels beyond it count, where resizing a cut-out repeats its edge. A rotated rectangle that
    reaches beyond the image sees its reflection.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)

    scale: tuple[Area, Area] = (0.2, 1.0)
    """Area of the rectangle as a share of the image's, drawn uniformly."""
    ratio: tuple[Ratio, Ratio] = (0.75, 4 / 3)
    """Width over height of the rectangle, in units of the image's, drawn log-uniformly."""
    flip: Annotated[float, Ge(0), Le(1)] = 0.5
    """Probability that left and right are exchanged."""
    degrees: Annotated[float, Ge(0), Le(180)] = 0.0
    """Largest angle of the rotation, either way, drawn uniformly."""
    size: tuple[Side, Side] | None = None
    """Height and width of the output; None = the image's."""

    def __post_init__(self) -> None:
        check_range(self, "scale")
        check_range(self, "ratio")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `sides` (B, 2), `place` (B, 2), `flipped` (B,) and `angle` (B,).

        Sides are shares of width and height, places where in the slack the rectangle begins.
        """
        rows = len(batch)
        area = rng.uniform(rows, *self.scale)
        low, high = (math.log(ratio) for ratio in self.ratio)
        stretch = rng.uniform(rows, low / 2, high / 2).exp()
        root = area.sqrt()
        return {
            "sides": torch.stack((root * stretch, root / stretch), dim=1).clamp(max=1),
            "place": rng.uniform(rows, 0.0, 1.0, 2),
            "flipped": rng.bernoulli(rows, self.flip),
            "angle": rng.uniform(rows, -1.0, 1.0) * math.radians(self.degrees),
        }

    def apply(self, batch: Batch, params: Params) -> Batch:
        """Return the crops (B, C, H', W'); a record that is not chosen is shown whole."""
        size = self.size or tuple(batch.values.shape[2:])
        matrix = _matrix(batch, params)
        padding = "reflection" if self.degrees else "border"
        values = sample_at(batch.values, matrix, (size[0], size[1]), padding)
        if values.shape == batch.values.shape:
            values = where_chosen(params["chosen"], values, batch.values)
        return batch.with_values(values)


def sample_at(values: Tensor, matrix: Tensor, size: Size, padding: str) -> Tensor:
    """Resample each image through its own affine map, antialiased where it becomes smaller.

    Args:
        values: (B, C, H, W).
        matrix: (B, 2, 3), from output to input, both with (x, y) in [-1, 1] from edge to edge.
        size: H' and W'.
        padding: what lies outside of the image, ``border`` or ``reflection``.

    Returns:
        (B, C, H', W') of the same dtype; the arithmetic is in float32.
    """
    rows, _, height, width = values.shape
    # Points per pixel come from the shapes alone, so that nothing waits for the device.
    fine = [max(1, -(-was // becomes)) for was, becomes in zip((height, width), size, strict=True)]
    down, across = (
        _centres(side * points, values.device) for side, points in zip(size, fine, strict=True)
    )
    # x and y in turn along a row of the grid: a row's own part, and what every row shares.
    shared = matrix[:, :, 0, None] * across + matrix[:, :, 2, None]  # (B, 2, W')
    own = matrix[:, :, 1, None].expand_as(shared)
    shared, own = (part.transpose(1, 2).reshape(rows, 1, -1) for part in (shared, own))
    grid = torch.addcmul(shared, own, down.unsqueeze(1))  # (B, H', 2 * W')
    grid = grid.view(rows, len(down), len(across), 2)
    sampled = F.grid_sample(values.float(), grid, padding_mode=padding, align_corners=False)
    if max(fine) > 1:
        sampled = F.avg_pool2d(sampled, fine)
    return sampled.to(values.dtype)


def _centres(points: int, device: torch.device) -> Tensor:
    """Return the centres of `points` equal stretches of [-1, 1]."""
    return (torch.arange(points, device=device) * 2 + 1) / points - 1


def _matrix(batch: Batch, params: Params) -> Tensor:
    """Return the map of each record from output to input (B, 2, 3), the whole where not chosen."""
    sides, height, width = params["sides"], *batch.values.shape[2:]
    centre = (params["place"] * 2 - 1) * (1 - sides)
    mirror = 1 - 2 * params["flipped"].float()
    cos, sin = params["angle"].cos(), params["angle"].sin()
    # Rotated in pixels, so that an oblong image keeps right angles.
    aspect = height / width
    moved = torch.stack(
        (
            torch.stack((cos * mirror * sides[:, 0], -sin * sides[:, 1] * aspect, centre[:, 0]), 1),
            torch.stack((sin * mirror * sides[:, 0] / aspect, cos * sides[:, 1], centre[:, 1]), 1),
        ),
        dim=1,
    )
    if params["chosen"] is None:
        return moved
    whole = torch.eye(2, 3, device=moved.device).expand_as(moved)
    return where_chosen(params["chosen"], moved, whole)
