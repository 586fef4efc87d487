"""Dilated residual convolutions over steps (after TS2Vec, Yue et al. 2022, arXiv 2106.10466)."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.encoders.base import Encoder
from seqcl.encoders.convolution import StepConv, real
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec

__all__ = ["Tcn"]


class Tcn(Encoder):
    """Project each step, then add residual blocks whose dilation doubles.

    Differs from TS2Vec in three ways. Layer norm over the channels of a step stands before each
    convolution: padding cannot reach it, a causal network stays causal, and nearest neighbours
    of the embedding are better than without a norm, or with one over the steps of a record,
    which removes how large the values are. ReLU stands for GELU, as good and cheaper. And 80
    features with four statistics replace 320 with their maxima: the same size, a quarter of the
    last layer. Weights start as PyTorch starts them; Kaiming's start is no better here.

    Args:
        in_channels: C of the series.
        width: channels inside.
        depth: residual blocks; block i has dilation 2**i, so each output step sees
            ``2 * (kernel - 1) * (2**depth - 1) + 1`` input steps.
        kernel: taps of each convolution.
        local_dim: features per step.
        causal: output step t sees no step after t.
        pooling: steps to one vector.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: Annotated[int, Ge(1)] = 64,
        depth: Annotated[int, Ge(0)] = 5,
        kernel: Annotated[int, Ge(2)] = 3,
        local_dim: Annotated[int, Ge(1)] = 80,
        causal: bool = False,
        pooling: Spec[Pooling] = Spec("poolings", "stats"),
    ) -> None:
        super().__init__(in_channels, local_dim, pooling.build(local_dim))
        self.project = nn.Linear(in_channels, width)
        self.blocks = nn.ModuleList(
            _Block(width, kernel, dilation=2**level, causal=causal) for level in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, local_dim)

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T)."""
        steps = self.project(values.transpose(1, 2))  # (B, T, width)
        for block in self.blocks:
            steps = block(steps, mask)
        features: Tensor = self.out(F.relu(self.norm(steps), inplace=True))
        return features.transpose(1, 2)


class _Block(nn.Module):
    """Norm, ReLU and convolution, twice, added to the input."""

    def __init__(self, width: int, kernel: int, *, dilation: int, causal: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.convs = nn.ModuleList(
            StepConv(width, width, kernel, dilation=dilation, causal=causal) for _ in range(2)
        )

    def forward(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, T, width) to the same shape."""
        inner = steps
        for norm, conv in zip(self.norms, self.convs, strict=True):
            inner = conv(real(F.relu(norm(inner), inplace=True), mask))
        return steps + inner
