"""The projection head of SimCLR: linear layers with ReLU between (arXiv 2002.05709)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from seqcl.heads.base import Head
from seqcl.heads.norm import GatheredBatchNorm

__all__ = ["MlpHead"]


class MlpHead(Head):
    """Project through hidden layers, each linear, normalised and rectified.

    Args:
        in_dim: size of the embedding.
        hidden: width of the hidden layers; None = `in_dim`.
        out_dim: size of the projection.
        layers: linear layers in all; 1 equals `linear`.
        norm: normalisation of each hidden layer. `batch` takes its statistics over the records
            of the batch, over all processes, as SimCLR does, and needs at least two of them;
            `layer` and `none` treat every record alone.
        last: what comes after the weights of the last layer. A learnt bias; nothing, where the
            loss or a predictor's batch norm takes the mean away; or `norm` again, without a
            learnt scale, as SimSiam and MoCo v3 do.

    Raises ValueError where the last layer is to be normalised and `norm` is `none`.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        hidden: Annotated[int, Ge(1)] | None = None,
        out_dim: Annotated[int, Ge(1)] = 128,
        layers: Annotated[int, Ge(1)] = 2,
        norm: Literal["none", "batch", "layer"] = "batch",
        last: Literal["bias", "none", "norm"] = "bias",
    ) -> None:
        super().__init__(in_dim, out_dim)
        if last == "norm" and norm == "none":
            raise ValueError("MlpHead: last=norm and norm=none; set norm=batch or norm=layer")
        self.min_batch = 2 if norm == "batch" and (layers > 1 or last == "norm") else 1
        widths = [in_dim] + [in_dim if hidden is None else hidden] * (layers - 1)
        modules: list[nn.Module] = []
        for before, after in pairwise(widths):
            # Batch norm takes the mean away, so a bias before it would never learn.
            modules.append(nn.Linear(before, after, bias=norm != "batch"))
            modules += [*_norm(norm, after), nn.ReLU()]
        modules.append(nn.Linear(widths[-1], out_dim, bias=last == "bias"))
        if last == "norm":
            modules += _norm(norm, out_dim, learnt=False)
        self.layers = nn.Sequential(*modules)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (B, in_dim) to (B, out_dim); raises ValueError below `min_batch` in training."""
        if self.training and len(pooled) < self.min_batch:
            raise ValueError(
                f"MlpHead: batch norm needs at least {self.min_batch} records, got {len(pooled)}; "
                f"use norm='layer' for single records"
            )
        projection: Tensor = self.layers(pooled)
        return projection


def _norm(
    name: Literal["none", "batch", "layer"], width: int, *, learnt: bool = True
) -> list[nn.Module]:
    if name == "batch":
        return [GatheredBatchNorm(width, affine=learnt)]
    return [nn.LayerNorm(width, elementwise_affine=learnt)] if name == "layer" else []
