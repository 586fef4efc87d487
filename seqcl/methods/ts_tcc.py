"""TS-TCC (Eldele et al. 2021, arXiv 2106.14112): each view predicts the other's future."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.encoders.pooling import LastPool
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.methods.base import Loss, Method, known_of
from seqcl.methods.future import Forecast, future_contrast
from seqcl.registry import Spec

__all__ = ["TSTCC"]


class TSTCC(Method):
    """Temporal contrast between a weak and a strong view, then contrast of their contexts.

    Wants the views `weak_strong`. The context of each view predicts the next local steps of the
    other one, among those of other records (equations 1 and 2; over several processes, of the own
    ones); the contexts of a record's two
    views are then pulled together (equation 3), by any loss between two views. Differs from the
    paper in three ways. A GRU stands for the transformer: as causal, and cheaper. Predictions
    start from several drawn steps, where the paper draws one. And what is contrasted is the
    context at the last real step, which has read the whole record.

    Args:
        encoders: the one encoder.
        horizon: local steps that are predicted, 40 % of them in the paper; fewer where a view
            has no more.
        width: features of the context; 100 in the paper.
        anchors: steps that are predicted from, drawn anew for every batch; None = all.
        temporal: weight of the temporal contrast, lambda 1.
        contextual: weight of the contextual contrast, lambda 2.
        head: projection head of the contexts.
        loss: the contextual contrast.
    """

    needs = frozenset({"two_views", "local"})
    most_views = 2
    gathers = False

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        horizon: Annotated[int, Ge(1)] = 6,
        width: Annotated[int, Ge(1)] = 100,
        anchors: Annotated[int, Ge(1)] | None = 8,
        temporal: Annotated[float, Gt(0)] = 1.0,
        contextual: Annotated[float, Gt(0)] = 0.7,
        head: Spec[Head] = Spec("heads", "mlp", {"hidden": 50, "out_dim": 25}),
        loss: Spec[PairLoss] = Spec("losses", "nt_xent", {"temperature": 0.2}),
    ) -> None:
        super().__init__(encoders)
        self.anchors, self.temporal, self.contextual = anchors, temporal, contextual
        self.forecast = Forecast(self.encoder.local_dim, width, horizon)
        self.last = LastPool(width)
        self.head = head.build(width)
        self.loss = loss.build()
        self.needs = type(self).needs | self.loss.needs
        self.together = self.loss.together
        self.min_batch = max(self.head.min_batch, self.loss.min_batch)

    @property
    def projector(self) -> None:
        """The head projects contexts, not the encoder's output."""

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the weighted sum of the temporal and the contextual contrast."""
        first, second = encoded
        at = self.forecast.draw(min(first, second, key=_steps), self.anchors, "TSTCC")
        contexts = [self.forecast(view) for view in (first, second)]
        crossed = [
            future_contrast(self.forecast.predictions(c, at), to, of, at, across_steps=False)
            for c, of, to in ((contexts[0], first, second), (contexts[1], second, first))
        ]
        temporal = torch.stack(crossed).mean()
        ends = [
            self.last(context.transpose(1, 2), view.mask)
            for context, view in zip(contexts, (first, second), strict=True)
        ]
        a, b = self.head(torch.cat(ends)).chunk(2)
        contextual = self.loss(a, b, known_of(first.view, self.loss))
        total = self.temporal * temporal + self.contextual * contextual
        return Loss(total, {"temporal": temporal.detach(), "contextual": contextual.detach()})


def _steps(encoded: Encoded) -> int:
    assert encoded.local is not None
    return encoded.local.shape[2]
