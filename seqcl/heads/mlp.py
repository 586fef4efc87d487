"""The projection head of SimCLR: linear layers with ReLU between (arXiv 2002.05709)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from seqcl.heads.base import Head

__all__ = ["MlpHead"]


class MlpHead(Head):
    """Project through hidden layers, each linear, normalised and rectified.

    Args:
        in_dim: size of the embedding.
        hidden: width of the hidden layers; None = `in_dim`.
        out_dim: size of the projection.
        layers: linear layers in all; 1 equals `linear`.
        norm: normalisation of each hidden layer. `batch` takes its statistics over the records
            of the batch, as SimCLR does, and needs at least two of them; `layer` and `none`
            treat every record alone.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        hidden: Annotated[int, Ge(1)] | None = None,
        out_dim: Annotated[int, Ge(1)] = 128,
        layers: Annotated[int, Ge(1)] = 2,
        norm: Literal["none", "batch", "layer"] = "batch",
    ) -> None:
        super().__init__(in_dim, out_dim)
        self.min_batch = 2 if norm == "batch" and layers > 1 else 1
        widths = [in_dim] + [in_dim if hidden is None else hidden] * (layers - 1)
        modules: list[nn.Module] = []
        for before, after in pairwise(widths):
            # Batch norm takes the mean away, so a bias before it would never learn.
            modules.append(nn.Linear(before, after, bias=norm != "batch"))
            modules += [*_norm(norm, after), nn.ReLU()]
        self.layers = nn.Sequential(*modules, nn.Linear(widths[-1], out_dim))

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (B, in_dim) to (B, out_dim); raises ValueError below `min_batch` in training."""
        if self.training and len(pooled) < self.min_batch:
            raise ValueError(
                f"MlpHead: batch norm needs at least {self.min_batch} records, got {len(pooled)}; "
                f"use norm='layer' for single records"
            )
        projection: Tensor = self.layers(pooled)
        return projection


def _norm(name: Literal["none", "batch", "layer"], width: int) -> list[nn.Module]:
    if name == "batch":
        return [nn.BatchNorm1d(width)]
    return [nn.LayerNorm(width)] if name == "layer" else []
