"""Ema: a target network that follows an encoder and its head, and never learns by gradient."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from seqcl.batch import Batch
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.methods.base import Progress, encode_views

__all__ = ["Ema", "rising"]


class Ema(nn.Module):
    """A copy of an encoder and a head, whose weights are moving averages of theirs.

    Its weights take no gradient, so no optimizer holds them; they are in the state. Batch norm
    in it takes the statistics of its own batch, as MoCo and BYOL do. It encodes the whole batch at
    once, also where `training.chunk` cuts what has a gradient.
    """

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = deepcopy(encoder).requires_grad_(False)
        self.head = deepcopy(head).requires_grad_(False)

    @torch.no_grad()
    def forward(self, views: tuple[Batch, ...]) -> tuple[Tensor, ...]:
        """Return the projection of each view, (B, out_dim) each."""
        encoded = encode_views(self.encoder, views, local=False)
        return tuple(self.head(one.pooled) for one in encoded)

    @torch.no_grad()
    def follow(self, encoder: Encoder, head: Head, momentum: float) -> None:
        """Set each weight to ``momentum * weight + (1 - momentum) * its original``."""
        for copy, original in ((self.encoder, encoder), (self.head, head)):
            for slow, fast in zip(copy.parameters(), original.parameters(), strict=True):
                slow.lerp_(fast, 1 - momentum)


def rising(momentum: float, progress: Progress) -> float:
    """Return a momentum that rises to 1 along a half cosine (BYOL, arXiv 2006.07733, sec. 3.3)."""
    return 1 - (1 - momentum) * (1 + math.cos(math.pi * progress.fraction)) / 2
