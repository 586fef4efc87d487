"""A head of its own for each of several encoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["HeadEach"]


class HeadEach(nn.Module):
    """Map each part of (B, D) by a head of its own.

    Args:
        each: heads in the order of the parts.
        sizes: features of each part.
    """

    def __init__(self, each: Sequence[nn.Module], sizes: Sequence[int]) -> None:
        super().__init__()
        self.each, self.sizes = nn.ModuleList(each), tuple(sizes)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (B, D) to (B, E), part after part."""
        parts = torch.split(pooled, list(self.sizes), 1)
        return torch.cat([head(part) for head, part in zip(self.each, parts, strict=True)], 1)
