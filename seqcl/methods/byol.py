"""BYOL (Grill et al. 2020, arXiv 2006.07733): predict a target network, without negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Ge, Le

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.regression import cosine
from seqcl.methods.base import Loss, Method, Progress
from seqcl.methods.crossed import build_predictor, crossed, project
from seqcl.methods.ema import Ema, rising
from seqcl.registry import Spec

__all__ = ["BYOL"]


class BYOL(Method):
    """Predict a target network's projection of the other view from one's own.

    ``2 - 2 cos`` (equation 2), averaged over the ordered pairs of views; the paper sums the two.
    Nothing pushes records apart: the batch norm of the heads and the slow target keep the
    embedding from collapsing, so watch `relative_std` and `rankme` in the log.

    Args:
        encoders: the one encoder.
        head: projection head; 4,096 wide in the paper, with 256 outputs.
        predictor: from projections to projections, as wide.
        momentum: of the target network at the start; it rises to 1 along a half cosine. Less
            where training has fewer than some thousand steps.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp", {"out_dim": 256, "last": "none"}),
        predictor: Spec[Head] = Spec("heads", "mlp", {"hidden": 1024, "out_dim": 256}),
        momentum: Annotated[float, Ge(0), Le(1)] = 0.996,
    ) -> None:
        super().__init__(encoders)
        self.momentum = momentum
        self.head = head.build(self.encoder.out_dim)
        self.predictor = build_predictor(predictor, self.head)
        self.target = Ema(self.encoder, self.head)
        self.min_batch = max(self.head.min_batch, self.predictor.min_batch)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the mean error of each view's prediction of the others."""
        predicted = [self.predictor(one) for one in project(self.head, encoded)]
        targets = self.target(tuple(one.view for one in encoded))
        total = 2 - 2 * crossed(cosine, predicted, targets)
        return Loss(total, {"regression": total.detach()})

    def after_step(self, progress: Progress, loss: Loss) -> None:
        """Move the target network on."""
        self.target.follow(self.encoder, self.head, rising(self.momentum, progress))
