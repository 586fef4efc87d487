"""SimCLR (Chen et al. 2020, arXiv 2002.05709): two views, a projection head, NT-Xent."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.methods.base import Loss, Method, known_of
from seqcl.registry import Spec

__all__ = ["SimCLR"]


class SimCLR(Method):
    """Pull two views of a record together, push other records of the batch away.

    With more than two views the loss is the mean over all pairs of views.

    Args:
        encoders: the one encoder.
        head: projection head; the loss is taken on its output.
        loss: any loss between two views, NT-Xent by default.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp"),
        loss: Spec[PairLoss] = Spec("losses", "nt_xent"),
    ) -> None:
        super().__init__(encoders)
        self.head = head.build(self.encoder.out_dim)
        self.loss = loss.build()
        self.needs = type(self).needs | self.loss.needs
        self.min_batch = max(self.head.min_batch, self.loss.min_batch)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the mean of the loss over the pairs of views."""
        # One call of the head, so that its batch norm sees all views, as in the paper.
        pooled = torch.cat([view.pooled for view in encoded])  # (V * B, out_dim)
        projected = self.head(pooled).chunk(len(encoded))
        known = known_of(encoded[0].view)
        losses = torch.stack([self.loss(a, b, known) for a, b in combinations(projected, 2)])
        total = losses.mean()
        return Loss(total, {"contrast": total.detach()})
