"""Encoder: a Batch to pooled and, when asked, local features, blind to padding and gaps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.batch import Axes, Batch, Encoded
from seqcl.encoders.pooling import Pooling
from seqcl.rng import Rng

__all__ = ["Encoder", "masked", "stride_mask"]


class Encoder(nn.Module, ABC):
    """Maps (B, C, T) to `pooled` (B, out_dim) and `local` (B, local_dim, T').

    An encoder of images maps (B, C, H, W), and T' is H' * W' with H' = ceil(H / stride), row-major.
    A subclass writes `features`; the base masks, pools and returns. Contract: values in masked
    steps, or more padding, change `pooled` by less than 1e-5. So every layer that mixes steps
    must zero the masked ones before it, and no statistic may run over them.

    Attributes:
        local_dim: features per local step.
        out_dim: features after pooling (several statistics make it larger than local_dim).
        stride: steps of input per local step; T' = ceil(T / stride).
    """

    kind: ClassVar[str] = "encoders"
    layouts: ClassVar[tuple[Axes, ...]] = ("CT",)
    """What it encodes: series or images."""
    min_batch: int = 1
    """Records below which training raises ValueError."""
    trainable: ClassVar[bool] = True
    autocast: bool = True
    """Whether the encoder may run under bfloat16 autocast."""
    exportable: bool = True
    """Whether its computation is one graph for batches of any size."""
    embeds_steps: bool = True
    """Whether windows of its local features can be pooled, for embeddings of single steps."""

    def __init__(self, in_channels: int, local_dim: int, pooling: Pooling, stride: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.local_dim = local_dim
        self.pooling = pooling
        self.out_dim = pooling.out_dim
        self.stride = stride

    @property
    def parts(self) -> tuple[int, ...]:
        """How many features of `pooled` are of which encoder, where it is several; they add up."""
        return (self.out_dim,)

    @property
    def learners(self) -> tuple[Encoder, ...]:
        """What is trained, each by a method of its own: the encoder itself, or parts of it."""
        return (self,)

    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Take what must come from data (kernel biases), before the optimizer exists."""

    @abstractmethod
    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T'); `values` (B, C, T) are 0 where `mask` (B, T) is False."""

    def forward(self, batch: Batch, local: bool = False) -> Encoded:
        """Encode one view; `local` asks for the local features too."""
        values, mask = masked(batch.values, batch.mask), batch.mask
        features = self.features(values, mask, batch.host_lengths)
        mask = stride_mask(mask, self.stride)
        # Pool in float32: a mean over many steps in bfloat16 keeps two digits.
        pooled = self.pooling(features.float() if features.itemsize < 4 else features, mask)
        return Encoded(pooled, features if local else None, mask, batch)


def masked(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return `values` (B, C, T) with zeros where `mask` (B, T) is False, NaN or not."""
    return values if mask is None else values.masked_fill(~mask.unsqueeze(1), 0.0)


def stride_mask(mask: Tensor | None, stride: int) -> Tensor | None:
    """Return (B, ceil(T / stride)): a strided step is real where any step that it covers is.

    Strided step i covers steps i * stride and after, up to the next strided step; so striding
    by 2 twice equals striding by 4 once, and a real step is never lost.
    """
    if mask is None or stride == 1:
        return mask
    rows, steps = mask.shape  # not len(mask), which an exporter would take for a constant
    return F.pad(mask, (0, -steps % stride)).view(rows, -1, stride).any(2)
