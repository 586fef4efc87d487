"""A plain convolution network over steps, the smallest encoder that learns."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from annotated_types import Ge, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.encoders.base import Encoder, stride_mask
from seqcl.encoders.convolution import StepConv, real
from seqcl.encoders.norm import StepNorm, step_norm
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec

__all__ = ["Conv1d"]


class Conv1d(Encoder):
    """Convolve, normalise and rectify, layer after layer.

    The last layer ends in its norm, so that pooling sees values on both sides of 0. Weights start
    as PyTorch starts them. Batch norm over the real steps learns better embeddings of small sets
    than layer norm over the channels of a step, at the price of records that see their batch.

    Args:
        in_channels: C of the series.
        widths: channels after each layer; the last is `local_dim`.
        stride: steps of input per step of output, in every layer; T' = ceil(T / stride**layers).
        kernel: taps of each convolution.
        norm: `batch` or `layer`.
        pooling: steps to one vector.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (64, 128, 256),
        stride: Annotated[int, Ge(1)] = 2,
        kernel: Annotated[int, Ge(1)] = 9,
        norm: StepNorm = "batch",
        pooling: Spec[Pooling] = Spec("poolings", "stats"),
    ) -> None:
        super().__init__(in_channels, widths[-1], pooling.build(widths[-1]), stride ** len(widths))
        self.convs = nn.ModuleList(
            StepConv(before, after, kernel, stride=stride, bias=norm != "batch")
            for before, after in pairwise((in_channels, *widths))
        )
        self.norms = nn.ModuleList(step_norm(norm, width) for width in widths)
        self.layer_stride = stride

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T')."""
        steps = values.transpose(1, 2)  # (B, T, C)
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            mask = stride_mask(mask, self.layer_stride)
            steps = norm(conv(steps), mask)
            if index < len(self.convs) - 1:
                steps = real(F.relu(steps), mask)
        return steps.transpose(1, 2)
