"""Cutout: hide a rectangle of each image (DeVries and Taylor 2017, arXiv 1708.04552)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Le
from torch import Tensor

from seqcl.batch import Axes, Batch
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, check_range

__all__ = ["Cutout"]

Fraction = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class Cutout(ValueAugmentation):
    """Set a rectangle to 0, which after the front end is the mean of the channel.

    Its middle lies anywhere in the image, so that part of it may fall outside, as in the paper.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)

    sides: tuple[Fraction, Fraction] = (0.25, 0.5)
    """Height and width as shares of the image's, each drawn uniformly."""

    def __post_init__(self) -> None:
        check_range(self, "sides")

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `sides` (B, 2) and `middle` (B, 2), as shares of height and width."""
        rows = len(batch)
        return {
            "sides": rng.uniform(rows, *self.sides, 2),
            "middle": rng.uniform(rows, 0.0, 1.0, 2),
        }

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Set the rectangles to 0."""
        hidden = []
        for axis, count in enumerate(batch.values.shape[2:]):
            at = (torch.arange(count, device=batch.values.device) + 0.5) / count
            away = (at - params["middle"][:, axis, None]).abs()
            hidden.append(away < params["sides"][:, axis, None] / 2)
        inside = hidden[0].unsqueeze(2) & hidden[1].unsqueeze(1)  # (B, H, W)
        return batch.values.masked_fill(inside.unsqueeze(1), 0.0)
