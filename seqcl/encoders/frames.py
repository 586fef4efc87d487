"""Steps as they are, beside random features of their neighbourhood: nothing is trained.

Random weights and a rectifier (Rahimi and Recht 2008; Huang et al. 2006) let a closed form find
what no linear map of the steps themselves would.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from seqcl.encoders.base import Encoder
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec

__all__ = ["Frames"]

_GAIN = 2.0
"""Deviation of a random feature before the rectifier, for channels of deviation 1."""
_SHIFT = 0.5
"""Deviation of its bias."""


class Frames(Encoder):
    """Pool the channels of each step, and rectified random projections of the steps around it.

    With `pooling: segments` a spectrogram becomes its coarse picture, in the order of time.

    Args:
        in_channels: C of the series, or bands of a spectrogram.
        random: how many random features a step; 0 leaves the steps alone.
        context: steps that each of them sees, an odd number centred on its own.
        pooling: steps to one vector.
    """

    trainable: ClassVar[bool] = False
    autocast = False

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        in_channels: int,
        *,
        random: Annotated[int, Ge(0)] = 128,
        context: Annotated[int, Ge(1)] = 5,
        pooling: Spec[Pooling] = Spec("poolings", "segments"),
    ) -> None:
        if context % 2 == 0:
            raise ValueError(f"Frames: context is {context}; needed: an odd number of steps")
        width = in_channels + random
        super().__init__(in_channels, width, pooling.build(width))
        scale = _GAIN / math.sqrt(in_channels * context)
        self.register_buffer("weight", scale * torch.randn(random, in_channels, context))
        self.register_buffer("bias", _SHIFT * torch.randn(random))

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, C + random, T)."""
        if not len(self.weight):
            return values
        seen = F.relu(F.conv1d(values, self.weight, self.bias, padding=self.weight.shape[2] // 2))
        return torch.cat((values, seen), 1)
