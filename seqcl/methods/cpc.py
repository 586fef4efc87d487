"""CPC (van den Oord et al. 2018, arXiv 1807.03748): predict the local features to come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.methods.base import Loss, Method
from seqcl.methods.future import Forecast, future_contrast

__all__ = ["CPC"]


class CPC(Method):
    """Tell, from a context of past steps, the true next steps from those of other places.

    Each view is treated alone and one is enough. Negatives are the other records' steps and the
    same record's other ones, at the steps drawn; over several processes, of the own records. The
    embedding is the encoder's, pooled; the paper's is the context. An encoder whose steps see far
    ahead makes near predictions easy: choose a horizon beyond what its kernels reach.

    Args:
        encoders: the one encoder.
        horizon: local steps that are predicted; fewer where a view has no more.
        width: features of the context.
        anchors: steps of each record that are predicted from, drawn anew for every batch; None =
            all, at a cost that grows with its square.
    """

    needs = frozenset({"local"})
    gathers = False

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        horizon: Annotated[int, Ge(1)] = 6,
        width: Annotated[int, Ge(1)] = 128,
        anchors: Annotated[int, Ge(1)] | None = 8,
    ) -> None:
        super().__init__(encoders)
        self.anchors = anchors
        self.forecast = Forecast(self.encoder.local_dim, width, horizon)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the mean of the loss over the views."""
        losses = []
        for view in encoded:
            at = self.forecast.draw(view, self.anchors, "CPC")
            predicted = self.forecast.predictions(self.forecast(view), at)
            losses.append(future_contrast(predicted, view, view, at, across_steps=True))
        total = torch.stack(losses).mean()
        return Loss(total, {"contrast": total.detach()})
