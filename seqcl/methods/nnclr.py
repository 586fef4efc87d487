"""NNCLR (Dwibedi et al. 2021, arXiv 2104.14548): nearest neighbours as positives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.losses.similarity import unit_rows
from seqcl.losses.tiles import full_precision
from seqcl.methods.base import Loss, Method, Progress
from seqcl.methods.crossed import build_predictor, contrast, project
from seqcl.methods.queue import Queue
from seqcl.registry import Spec

__all__ = ["NNCLR"]


class NNCLR(Method):
    """Predict a view from the nearest neighbour of the other one among past projections.

    The neighbour, of another record more often than not, takes the place of the view itself
    (equations 3 and 4), averaged over the ordered pairs of views. It has no gradient.

    Args:
        encoders: the one encoder.
        head: projection head; 2,048 wide in the paper, with 256 outputs.
        predictor: from projections to projections; 4,096 wide in the paper.
        loss: between neighbours and predictions, in which neighbours are the anchors.
        queue: projections among which neighbours are looked for, the support set. 98,304 in the
            paper, for 1.3 million records.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp", {"layers": 3, "out_dim": 256, "last": "norm"}),
        predictor: Spec[Head] = Spec("heads", "mlp", {"hidden": 1024, "out_dim": 256}),
        loss: Spec[PairLoss] = Spec("losses", "info_nce", {"temperature": 0.1, "symmetric": False}),
        queue: Annotated[int, Ge(1)] = 4096,
    ) -> None:
        super().__init__(encoders)
        self.head = head.build(self.encoder.out_dim)
        self.predictor = build_predictor(predictor, self.head)
        self.loss = loss.build()
        self.queue = Queue(queue, self.head.out_dim)
        self.needs = type(self).needs | self.loss.needs
        self.together = self.loss.together
        self.min_batch = max(part.min_batch for part in (self.loss, self.head, self.predictor))

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the contrast of neighbours with predictions; carries the first view's rows."""
        projected = project(self.head, encoded)
        predicted = [self.predictor(one) for one in projected]
        neighbours = [self.neighbours(one) for one in projected]
        total = contrast(self.loss, neighbours, predicted, encoded)
        keys = unit_rows(projected[0].detach())
        return Loss(total, {"contrast": total.detach()}, {"keys": keys})

    @torch.no_grad()
    def neighbours(self, projected: Tensor) -> Tensor:
        """Return the row of the queue with the largest cosine to each of (B, D)."""
        with full_precision(projected):
            nearest = (unit_rows(projected) @ self.queue.rows.T).argmax(1)
        return self.queue.rows[nearest]

    def after_step(self, progress: Progress, loss: Loss) -> None:
        """Queue the projections."""
        self.queue.push(loss.carry["keys"])
