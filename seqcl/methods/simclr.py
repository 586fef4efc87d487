"""SimCLR (Chen et al. 2020, arXiv 2002.05709): two views, a projection head, NT-Xent."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.methods.base import Loss, Method, Progress, known_of
from seqcl.methods.temperature import Temperature, build_temperature
from seqcl.registry import Spec

__all__ = ["SimCLR"]


class SimCLR(Method):
    """Pull two views of a record together, push other records of the batch away.

    With more than two views the loss is the mean over all pairs of views. Labels are shown to a
    loss that asks for them, and to no other.

    Args:
        encoders: the one encoder.
        head: projection head; the loss is taken on its output.
        loss: any loss between two views, NT-Xent by default.
        temperature: takes the place of the loss's own number; None = that number.

    Raises ValueError where a temperature is given to a loss that has none.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp"),
        loss: Spec[PairLoss] = Spec("losses", "nt_xent"),
        temperature: Spec[Temperature] | None = None,
    ) -> None:
        super().__init__(encoders)
        self.head = head.build(self.encoder.out_dim)
        self.loss = loss.build()
        self.temperature = build_temperature(temperature, self.loss)
        self.needs = type(self).needs | self.loss.needs
        self.together = type(self).together | self.loss.together
        self.min_batch = max(self.head.min_batch, self.loss.min_batch)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the mean of the loss over the pairs of views."""
        total = self.contrast(self.project(encoded), encoded)
        return Loss(total, {"contrast": total.detach(), **self.facts()})

    def project(self, encoded: tuple[Encoded, ...]) -> tuple[Tensor, ...]:
        """Return the projection of each view, (B, out_dim) each."""
        # One call of the head, so that its batch norm sees all views, as in the paper.
        pooled = torch.cat([view.pooled for view in encoded])  # (V * B, out_dim)
        projected: tuple[Tensor, ...] = self.head(pooled).chunk(len(encoded))
        return projected

    def contrast(self, projected: tuple[Tensor, ...], encoded: tuple[Encoded, ...]) -> Tensor:
        """Return the mean of the loss over the pairs of views."""
        temperature = None if self.temperature is None else self.temperature()
        known = known_of(encoded[0].view, self.loss, temperature)
        losses = [self.loss(a, b, known) for a, b in combinations(projected, 2)]
        return torch.stack(losses).mean()

    def facts(self) -> dict[str, Tensor]:
        """Return what the log should tell besides the losses."""
        return {} if self.temperature is None else {"temperature": self.temperature().detach()}

    def after_step(self, progress: Progress, loss: Loss) -> None:
        """Move the temperature on."""
        if self.temperature is not None:
            self.temperature.after_step(progress)
