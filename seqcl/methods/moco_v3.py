"""MoCo v3 (Chen, Xie and He 2021, arXiv 2104.02057, algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Ge, Le

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.methods.base import Loss, Method, Progress
from seqcl.methods.crossed import build_predictor, contrast, project
from seqcl.methods.ema import Ema, rising
from seqcl.registry import Spec

__all__ = ["MoCoV3"]


class MoCoV3(Method):
    """Predict a target network's projection of the other view, among those of the batch.

    The mean over the ordered pairs of views of the contrast between predictions and keys; half
    of the paper's sum, and without its factor of twice the temperature.

    Args:
        encoders: the one encoder.
        head: projection head; 4,096 wide in the paper, with 256 outputs.
        predictor: from projections to projections, as wide.
        loss: between predictions and keys, in which predictions are the anchors.
        momentum: of the target network at the start; it rises to 1 along a half cosine.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp", {"out_dim": 256, "last": "norm"}),
        predictor: Spec[Head] = Spec("heads", "mlp", {"out_dim": 256, "last": "norm"}),
        loss: Spec[PairLoss] = Spec("losses", "info_nce", {"temperature": 0.2, "symmetric": False}),
        momentum: Annotated[float, Ge(0), Le(1)] = 0.99,
    ) -> None:
        super().__init__(encoders)
        self.momentum = momentum
        self.head = head.build(self.encoder.out_dim)
        self.predictor = build_predictor(predictor, self.head)
        self.target = Ema(self.encoder, self.head)
        self.loss = loss.build()
        self.needs = type(self).needs | self.loss.needs
        self.together = self.loss.together
        self.min_batch = max(part.min_batch for part in (self.loss, self.head, self.predictor))

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the mean contrast of each view's predictions with the keys of the others."""
        predicted = [self.predictor(one) for one in project(self.head, encoded)]
        keys = self.target(tuple(one.view for one in encoded))
        total = contrast(self.loss, predicted, keys, encoded)
        return Loss(total, {"contrast": total.detach()})

    def after_step(self, progress: Progress, loss: Loss) -> None:
        """Move the target network on."""
        self.target.follow(self.encoder, self.head, rising(self.momentum, progress))
