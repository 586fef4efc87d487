"""Convolutions over a spectrogram: frames are steps, channels are its bands in order.

After the small networks of COLA and BYOL-A (Saeed et al. 2021, arXiv 2010.10915; Niizumi et al.
2021, arXiv 2103.06695).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.encoders.base import Encoder, stride_mask
from seqcl.encoders.norm import StepBatchNorm
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec

__all__ = ["Conv2d"]


class Conv2d(Encoder):
    """View (B, F, T) as pictures (B, 1, F, T), convolve both ways, read each frame as a whole.

    Each stage is a 3 x 3 convolution, batch norm over the real frames, a rectifier, and a maximum
    over two bands and, in all stages but the last, two frames; or the convolution itself strides
    so far. What is left of the bands is one vector a frame, which two linear layers turn into
    `local_dim` features; then the frames are pooled. Masked frames are 0 before every convolution,
    and no statistic runs over them.

    Args:
        in_channels: F, bands of the spectrogram.
        widths: channels of each stage; each halves the bands, and each but the last the frames.
        strided: stride instead of taking maxima, at a fourth to a third of the cost.
        local_dim: features a frame.
        pooling: frames to one vector.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (16, 32, 64, 128),
        strided: bool = False,
        local_dim: Annotated[int, Ge(1)] = 256,
        pooling: Spec[Pooling] = Spec("poolings", "stats"),
    ) -> None:
        super().__init__(in_channels, local_dim, pooling.build(local_dim), 2 ** (len(widths) - 1))
        self.steps = [(2, 2)] * (len(widths) - 1) + [(2, 1)]
        """Bands and frames that each stage makes one."""
        self.strided = strided
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, step if strided else 1, padding=1, bias=False)
            for step, (before, after) in zip(self.steps, pairwise((1, *widths)), strict=True)
        )
        self.norms = nn.ModuleList(StepBatchNorm(width) for width in widths)
        bands = in_channels
        for _ in widths:
            bands = -(-bands // 2)
        self.frame = nn.Sequential(
            nn.Linear(widths[-1] * bands, local_dim), nn.ReLU(), nn.Linear(local_dim, local_dim)
        )

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T')."""
        picture = values.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        for step, convolve, norm in zip(self.steps, self.convolutions, self.norms, strict=True):
            picture = convolve(picture)
            if self.strided:
                mask = stride_mask(mask, step[1])
            picture = F.relu(_normed(norm, picture, mask))
            if mask is not None:
                picture = picture * mask[:, None, None]
            if not self.strided:  # no value is negative: a masked frame, 0, is not the larger one
                picture = F.max_pool2d(picture, step, ceil_mode=True)  # an odd last one stays alone
                mask = stride_mask(mask, step[1])
        frames = picture.permute(0, 3, 1, 2).flatten(2)  # (B, T', width * bands)
        features: Tensor = self.frame(frames)
        return features.transpose(1, 2)


def _normed(norm: nn.Module, picture: Tensor, mask: Tensor | None) -> Tensor:
    """Normalise (B, W, F, T) per channel over the pixels of real frames."""
    rows, width, bands, frames = picture.shape
    pixels = picture.permute(0, 2, 3, 1).reshape(rows, bands * frames, width)
    wide = None if mask is None else mask.repeat(1, bands)
    normed: Tensor = norm(pixels, wide)
    return normed.view(rows, bands, frames, width).permute(0, 3, 1, 2)
