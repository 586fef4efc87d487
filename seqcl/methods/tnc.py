"""TNC (Tonekaboni et al. 2021, arXiv 2106.00750): which windows are neighbours in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.methods.base import Loss, Method

__all__ = ["TNC", "Discriminator"]


class TNC(Method):
    """Learn to tell a window's neighbour from a window far away, which may yet be alike.

    Wants the views `neighbourhood`: anchor, neighbour, far window, of recordings that are longer
    than a window. Far windows are unlabelled rather than negative (equation 2): each counts as a
    neighbour with weight w and as none with 1 - w. With two views alone, from another generator,
    the windows of all other records stand for the far ones; over several processes, of the own
    records.

    Args:
        encoders: the one encoder.
        weight: w, the probability that a far window is like its anchor; 0.05 in the paper.
        hidden: units of the discriminator's hidden layer. It has no dropout, where the authors'
            code drops half: its weights are few beside the encoder's.
    """

    most_views = 3
    gathers = False

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        weight: Annotated[float, Ge(0), Le(1)] = 0.05,
        hidden: Annotated[int, Ge(1)] = 128,
    ) -> None:
        super().__init__(encoders)
        self.weight = weight
        self.discriminator = Discriminator(self.encoder.out_dim, hidden)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the loss of anchors against their neighbours and far windows."""
        anchor, near = encoded[0].pooled, encoded[1].pooled
        close = self.discriminator(anchor, near).float()
        if len(encoded) > 2:
            far = self.discriminator(anchor, encoded[2].pooled).float()
            unlabelled = self._unlabelled(far).mean()
        else:
            far = self.discriminator(anchor.unsqueeze(1), near.unsqueeze(0)).float()  # (B, B)
            others = ~torch.eye(len(far), dtype=torch.bool, device=far.device)
            unlabelled = (self._unlabelled(far) * others).sum() / (len(far) * (len(far) - 1))
        neighbour = F.softplus(-close).mean()
        parts = {"neighbour": neighbour.detach(), "far": unlabelled.detach()}
        return Loss(neighbour + unlabelled, parts)

    def _unlabelled(self, scores: Tensor) -> Tensor:
        """Return ``-(1 - w) log(1 - D) - w log D`` of scores, the log odds of D."""
        return (1 - self.weight) * F.softplus(scores) + self.weight * F.softplus(-scores)


class Discriminator(nn.Module):
    """Log odds that two windows are neighbours: one hidden layer over both embeddings.

    The layer is written as two, one for each window, so that all pairs of a batch cost no more
    than their sums. Embeddings are normalised first, since encoders differ in scale.
    """

    def __init__(self, in_dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.first = nn.Linear(in_dim, hidden)
        self.second = nn.Linear(in_dim, hidden, bias=False)
        self.out = nn.Linear(hidden, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Map (..., D) and (..., D), broadcast, to (...)."""
        hidden = self.first(self.norm(first)) + self.second(self.norm(second))
        scores: Tensor = self.out(F.relu(hidden))
        return scores.squeeze(-1)
