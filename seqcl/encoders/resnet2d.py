"""Residual networks for images (He et al. 2016, arXiv 1512.03385)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.batch import Axes
from seqcl.encoders.base import Encoder
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec

__all__ = ["ResNet2d"]

_SAFE = 8
"""Channels from which torch's 1 x 1 convolution with a stride is used."""
_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks of two convolutions in each of four stages."""

Norm = Literal["batch", "group"]


class ResNet2d(Encoder):
    """Four stages of residual blocks, each with twice the channels and half the pixels.

    Depth 10 with width 16 has 0.31 million parameters; 18 with 64 is the ResNet-18 of the
    literature, with 11.2 million. The `cifar` stem is one 3 x 3 convolution at full resolution
    (SimCLR, arXiv 2002.05709, appendix B.9); the `imagenet` stem a 7 x 7 one of stride 2 and a
    maximum of stride 2. Activations are channels-last in memory.

    In training, `batch` norm takes its statistics over the batch, at least 2 images of it;
    `group` norm treats each image alone.

    Args:
        in_channels: C of the images.
        depth: layers of the network of that name.
        stem: `cifar` for small images (stride 8 in all), `imagenet` for large ones (32).
        width: channels of the first stage; the last has eight times as many.
        norm: over the batch, or over groups of a record's channels.
        pooling: positions to one vector; the mean, as in the paper.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)
    embeds_steps = False

    def __init__(
        self,
        in_channels: int,
        *,
        depth: Literal[10, 18, 34] = 10,
        stem: Literal["cifar", "imagenet"] = "cifar",
        width: Annotated[int, Ge(1)] = 16,
        norm: Norm = "batch",
        pooling: Spec[Pooling] = Spec("poolings", "mean"),
    ) -> None:
        widths = [width * 2**stage for stage in range(4)]
        is_small = stem == "cifar"
        super().__init__(in_channels, widths[-1], pooling.build(widths[-1]), 8 if is_small else 32)
        self.is_small = is_small
        kernel, stride = (3, 1) if is_small else (7, 2)
        self.stem = _conv(in_channels, width, kernel, stride)
        self.norm = _norm(norm, width)
        blocks = []
        for stage, (before, after) in enumerate(pairwise((width, *widths))):
            for index in range(_BLOCKS[depth][stage]):
                first = index == 0
                halves = first and stage > 0
                blocks.append(_Block(before if first else after, after, 2 if halves else 1, norm))
        self.blocks = nn.ModuleList(blocks)
        self.min_batch = 2 if norm == "batch" else 1

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, H' * W'), row-major, for `values` (B, C, H, W)."""
        if self.training and len(values) < self.min_batch:
            raise ValueError(
                f"ResNet2d: batch norm needs at least {self.min_batch} images, got {len(values)}; "
                "use norm='group' for single ones"
            )
        images = values.contiguous(memory_format=torch.channels_last)
        images = F.relu(self.norm(self.stem(images)), inplace=True)
        if not self.is_small:
            images = F.max_pool2d(images, 3, stride=2, padding=1)
        for block in self.blocks:
            images = block(images)
        # Channels-last in memory: as (B, H' * W', D) it needs no copy, which is how it is pooled.
        return images.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)


class _Block(nn.Module):
    """Two convolutions, each normalised, added to a shortcut and rectified."""

    def __init__(self, in_channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(in_channels, width, 3, stride), _norm(norm, width)
        self.conv2, self.norm2 = _conv(width, width, 3, 1), _norm(norm, width)
        same = in_channels == width and stride == 1
        self.shortcut: nn.Module = nn.Identity()
        if not same:
            conv = _started(_Pointwise(in_channels, width, 1, stride, bias=False))
            self.shortcut = nn.Sequential(conv, _norm(norm, width))

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, width, ceil(H / stride), ceil(W / stride))."""
        inner = F.relu(self.norm1(self.conv1(images)), inplace=True)
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(images), inplace=True)


class _Pointwise(nn.Conv2d):
    """A 1 x 1 convolution; of fewer than 8 channels it takes the pixels that its stride keeps.

    There torch's own (2.11 on a CPU, channels last in memory) writes beyond its memory in the
    gradient.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Map (B, in_channels, H, W) to (B, width, ceil(H / stride), ceil(W / stride))."""
        if self.in_channels >= _SAFE:
            return super().forward(input)
        down, right = self.stride
        return F.conv2d(input[:, :, ::down, ::right], self.weight)


def _conv(in_channels: int, width: int, kernel: int, stride: int) -> nn.Conv2d:
    return _started(
        nn.Conv2d(in_channels, width, kernel, stride=stride, padding=kernel // 2, bias=False)
    )


def _started(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _norm(name: Norm, width: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm2d(width)
    groups = next(groups for groups in (8, 4, 2, 1) if width % groups == 0)
    return nn.GroupNorm(groups, width)
