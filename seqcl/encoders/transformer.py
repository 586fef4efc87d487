"""Transformer over patches of steps (Vaswani et al. 2017; patches as in Nie et al. 2023)."""

from __future__ import annotations

from math import log
from typing import Annotated

import torch
from annotated_types import Ge, MultipleOf
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.encoders.base import Encoder, stride_mask
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec

__all__ = ["Transformer"]


class Transformer(Encoder):
    """Embed patches linearly, add sinusoidal positions, attend in pre-norm blocks.

    Masked steps are zeros in their patch, and a patch with no real step is not attended to.
    Positions are not learnt, so any length can be embedded. Weights start as PyTorch starts
    them.

    Args:
        in_channels: C of the series.
        patch: steps per patch, the `stride` of the encoder.
        depth: blocks.
        heads: attention heads.
        head_dim: features of one head; there are ``heads * head_dim`` features inside.
        expansion: width of the feed-forward layer, as a multiple of the features inside.
        local_dim: features per patch.
        pooling: patches to one vector.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        patch: Annotated[int, Ge(1)] = 4,
        depth: Annotated[int, Ge(0)] = 4,
        heads: Annotated[int, Ge(1)] = 4,
        head_dim: Annotated[int, Ge(2), MultipleOf(2)] = 32,
        expansion: Annotated[int, Ge(1)] = 2,
        local_dim: Annotated[int, Ge(1)] = 320,
        pooling: Spec[Pooling] = Spec("poolings", "max"),
    ) -> None:
        width = heads * head_dim
        super().__init__(in_channels, local_dim, pooling.build(local_dim), patch)
        self.project = nn.Linear(in_channels * patch, width)
        self.blocks = nn.ModuleList(_Block(width, heads, expansion) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, local_dim)

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T')."""
        tokens = self.project(_patches(values, self.stride))  # (B, T', width)
        tokens = tokens + _positions(tokens)
        mask = stride_mask(mask, self.stride)
        if mask is not None:
            # A record without a real step attends to everything: no row of keys may be empty.
            mask = (mask | ~mask.any(1, keepdim=True))[:, None, None]  # (B, 1, 1, T')
        for block in self.blocks:
            tokens = block(tokens, mask)
        features: Tensor = self.out(self.norm(tokens))
        return features.transpose(1, 2)


class _Block(nn.Module):
    """Attention, then a feed-forward layer, each on normalised input and added to it."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        # The softmax cancels a constant in the keys, so their bias would never learn.
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width)
        self.expand = nn.Linear(width, expansion * width)
        self.contract = nn.Linear(expansion * width, width)

    def forward(self, tokens: Tensor, keys: Tensor | None) -> Tensor:
        """Map (B, T', width) to the same shape; `keys` (B, 1, 1, T') may be attended to."""
        qkv: Tensor = self.qkv(self.norms[0](tokens))
        heads = qkv.view(*qkv.shape[:2], 3, self.heads, -1)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (B, heads, T', width / heads)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        tokens = tokens + self.mix(attended.transpose(1, 2).flatten(2))
        inner: Tensor = self.contract(F.gelu(self.expand(self.norms[1](tokens))))
        return tokens + inner


def _patches(values: Tensor, patch: int) -> Tensor:
    """Cut (B, C, T) into (B, ceil(T / patch), C * patch), the last one filled with zeros."""
    filled = F.pad(values, (0, -values.shape[2] % patch))
    return filled.view(*values.shape[:2], -1, patch).transpose(1, 2).flatten(2)


def _positions(tokens: Tensor) -> Tensor:
    """Return (T', width): sines, then cosines, of wavelengths from 2 pi to 20,000 pi steps."""
    half = tokens.shape[2] // 2
    places = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float32)
    scale = torch.arange(half, device=tokens.device, dtype=torch.float32) * (-log(1e4) / half)
    angles = places.unsqueeze(1) * scale.exp()
    return torch.cat((angles.sin(), angles.cos()), dim=1).to(tokens.dtype)
