"""Residual convolutions in three stages (Wang et al. 2017, arXiv 1611.06455)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from annotated_types import Ge, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.encoders.base import Encoder, stride_mask
from seqcl.encoders.convolution import StepConv, real
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec

__all__ = ["ResNet1d"]

_KERNELS = (7, 5, 3)
"""Taps of a block's convolutions; the paper's 8 became 7, so that steps stay centred."""


class ResNet1d(Encoder):
    """Stack residual blocks of three convolutions, with a linear layer at the end.

    Differs from the paper in its norm: layer norm over the channels of a step instead of batch
    norm, whose statistics would run over padding and, in contrastive training, tell a record
    from its batch. Weights start as PyTorch starts them.

    Args:
        in_channels: C of the series.
        widths: channels of each stage.
        blocks: residual blocks per stage; 2 or more for a deeper network.
        stride: steps of input per step of output, at the start of every stage but the first.
        local_dim: features per step.
        pooling: steps to one vector.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (64, 128, 128),
        blocks: Annotated[int, Ge(1)] = 1,
        stride: Annotated[int, Ge(1)] = 1,
        local_dim: Annotated[int, Ge(1)] = 80,
        pooling: Spec[Pooling] = Spec("poolings", "stats"),
    ) -> None:
        whole = stride ** (len(widths) - 1)
        super().__init__(in_channels, local_dim, pooling.build(local_dim), whole)
        sizes = (in_channels, *(width for width in widths for _ in range(blocks)))
        first = (*([1] * blocks), *([stride] + [1] * (blocks - 1)) * (len(widths) - 1))
        self.strides = first
        self.blocks = nn.ModuleList(
            _Block(*pair, stride) for pair, stride in zip(pairwise(sizes), first, strict=True)
        )
        self.out = nn.Linear(widths[-1], local_dim)

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T')."""
        steps = values.transpose(1, 2)  # (B, T, C)
        for block, stride in zip(self.blocks, self.strides, strict=True):
            steps = block(real(steps, mask), mask)
            mask = stride_mask(mask, stride)
        features: Tensor = self.out(steps)
        return features.transpose(1, 2)


class _Block(nn.Module):
    """Three convolutions, each normalised, added to a shortcut and rectified."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        sizes = (in_channels, width, width)
        self.convs = nn.ModuleList(
            StepConv(size, width, kernel, stride=stride if index == 0 else 1)
            for index, (size, kernel) in enumerate(zip(sizes, _KERNELS, strict=True))
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in _KERNELS)
        same = in_channels == width and stride == 1
        self.shortcut = nn.Identity() if same else StepConv(in_channels, width, 1, stride=stride)

    def forward(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, T, in_channels), 0 where masked, to (B, ceil(T / stride), width)."""
        inner, mask = steps, stride_mask(mask, self.stride)
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            inner = norm(conv(inner if index == 0 else real(F.relu(inner, inplace=True), mask)))
        return F.relu(inner + self.shortcut(steps), inplace=True)
