"""Standardise: values in [0, 1] to mean 0 and deviation 1 in each channel."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from seqcl.batch import Axes, Batch
from seqcl.rng import Rng
from seqcl.views.base import Frontend

__all__ = ["Standardise"]


class Standardise(Frontend):
    """Subtract each channel's mean and divide by its deviation.

    Both are taken from unaugmented training images. Augmentations of colour need values in [0, 1],
    so they stand `before` it.

    Attributes:
        mean, std: (C, 1, 1) buffers; 0 and 1 until `prepare`.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)

    mean: Tensor
    std: Tensor

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.register_buffer("mean", torch.zeros(in_channels, 1, 1))
        self.register_buffer("std", torch.ones(in_channels, 1, 1))

    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Take both from the pixels of the sample; the deviation of a constant channel is 1."""
        pixels = sample.values.double().transpose(0, 1).flatten(1)  # (C, B * H * W)
        std = pixels.std(1, correction=0)
        self.mean.copy_(pixels.mean(1).view_as(self.mean))
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)).view_as(self.std))

    def forward(self, batch: Batch) -> Batch:
        """Return the standardised images, of the same dtype."""
        factor = self.std.reciprocal()
        values = torch.addcmul(-self.mean * factor, batch.values.float(), factor)
        return batch.with_values(values.to(batch.values.dtype))

    def picture(self, values: Tensor) -> Tensor:
        """Return the values in [0, 1] again."""
        return (values * self.std + self.mean).clamp(0, 1)
