"""A plain convolution network over steps, the smallest encoder that learns."""

from __future__ import annotations

from math import prod
from typing import Annotated

from annotated_types import Ge, MinLen
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name

from seqcl.encoders.base import Encoder, stride_mask
from seqcl.encoders.convolution import StepConv, real
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec

__all__ = ["Conv1d"]


class Conv1d(Encoder):
    """Convolve, normalise each step over its channels and rectify, layer after layer.

    The last layer is linear, so that pooling sees values on both sides of 0. Weights start as
    PyTorch starts them.

    Args:
        in_channels: C of the series.
        widths: channels after each layer; the last is `local_dim`.
        strides: steps of input per step of output, for each layer; T' = ceil(T / product).
        kernel: taps of each convolution.
        pooling: steps to one vector.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (64, 128, 80),
        strides: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2, 1),
        kernel: Annotated[int, Ge(1)] = 7,
        pooling: Spec[Pooling] = Spec("poolings", "stats"),  # noqa: B008 - Spec is frozen
    ) -> None:
        if len(strides) != len(widths):
            raise ValueError(
                f"Conv1d: {len(widths)} widths and {len(strides)} strides; each layer needs both"
            )
        super().__init__(in_channels, widths[-1], pooling.build(widths[-1]), prod(strides))
        sizes = zip((in_channels, *widths), widths, strides, strict=False)
        self.convs = nn.ModuleList(
            StepConv(before, after, kernel, stride=stride) for before, after, stride in sizes
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[:-1])
        self.strides = strides

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T')."""
        steps: Tensor = self.convs[0](values.transpose(1, 2))  # (B, T, width)
        layers = zip(self.norms, self.convs[1:], self.strides, strict=False)
        for norm, conv, stride in layers:
            mask = stride_mask(mask, stride)
            steps = conv(real(F.relu(norm(steps), inplace=True), mask))
        return steps.transpose(1, 2)
