"""Readout: standardised embeddings to the outputs of a task, by one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Readout"]


class Readout(nn.Module):
    """Maps (B, E) embeddings to (B, K) outputs.

    The weights start at 0, so the first step sees every class as likely as another, and the
    encoder gets no gradient from random weights.

    Args:
        in_dim: E.
        out_dim: K.

    Attributes:
        mean, std: (E,) buffers of the training embeddings before the first step; 0 and 1 until
            `prepare`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("std", torch.ones(in_dim))
        self.linear = nn.Linear(in_dim, out_dim)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @torch.no_grad()
    def prepare(self, embedded: Tensor) -> None:
        """Take mean and deviation from (N, E) embeddings; a constant feature keeps deviation 1."""
        std = embedded.std(0, correction=0)
        self.mean.copy_(embedded.mean(0))
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, embedded: Tensor) -> Tensor:
        """Return (B, K): logits of classes or tags, or the standardised value."""
        outputs: Tensor = self.linear((embedded - self.mean) / self.std)
        return outputs
