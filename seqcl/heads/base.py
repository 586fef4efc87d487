"""Head: from the encoder's embedding to the space where the loss is taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Head"]


class Head(nn.Module, ABC):
    """Maps (B, in_dim) to (B, out_dim); thrown away after training.

    Attributes:
        in_dim: size of the encoder's embedding.
        out_dim: size of the projection.
        min_batch: fewest records in training; below it `forward` raises ValueError.
    """

    kind: ClassVar[str] = "heads"
    trainable: ClassVar[bool] = True
    autocast: ClassVar[bool] = True
    min_batch: int = 1

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.in_dim, self.out_dim = in_dim, out_dim

    @abstractmethod
    def forward(self, pooled: Tensor) -> Tensor:
        """Map (B, in_dim) to (B, out_dim)."""
