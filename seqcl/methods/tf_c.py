"""TF-C (Zhang et al. 2022, arXiv 2206.08496): a series and its spectrum tell the same."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Annotated

import torch
from annotated_types import Ge, Le

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.encoders.time_frequency import TimeFrequency
from seqcl.errors import PresetError
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.methods.base import Loss, Method, known_of
from seqcl.registry import Spec

__all__ = ["TFC"]


class TFC(Method):
    """Contrast two views in time, in frequency, and the two domains with each other.

    Wants the encoder `time_frequency` and, for the paper's pair of a record and its augmentation,
    the views `weak_strong` with nothing weak. With d(u, v) the loss between two sets of
    projections, of the series (t), its spectrum (f) and the augmented ones (t', f'), it is
    ``balance (d(t, t') + d(f, f')) + (1 - balance) sum max(0, d(t, f) - d(u, v) + margin)``, the
    sum over the three other pairs (u, v) of both domains (equations 1, 2, 5 and 6).

    Differs from the paper in two ways. A difference below the margin counts 0, as in a triplet
    loss: without that bound the augmented pairs are pushed apart without end. And an augmented
    spectrum is that of the augmented series (`frequency_mask` removes components), where the paper
    perturbs the spectrum of the original.

    Args:
        encoders: the one encoder, `time_frequency`.
        balance: lambda, weight of the contrasts within a domain, 0 to 1.
        margin: delta, by how much a record and its own spectrum must be closer.
        head: projection head, one for each domain.
        loss: any loss between two views.
    """

    needs = frozenset({"two_views", "time_frequency"})
    most_views = 2

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        balance: Annotated[float, Ge(0), Le(1)] = 0.5,
        margin: Annotated[float, Ge(0)] = 1.0,
        head: Spec[Head] = Spec("heads", "mlp", {"hidden": 256, "out_dim": 128}),
        loss: Spec[PairLoss] = Spec("losses", "nt_xent", {"temperature": 0.2}),
    ) -> None:
        super().__init__(encoders)
        encoder = self.encoder
        if not isinstance(encoder, TimeFrequency):
            raise PresetError(
                f"method tf_c needs the encoder time_frequency, which has an encoder for the "
                f"series and one for its spectrum; got {type(encoder).__name__}: set "
                f"encoder: time_frequency"
            )
        self.balance, self.margin = balance, margin
        self.sizes = (encoder.time.out_dim, encoder.frequency.out_dim)
        self.time_head, self.frequency_head = (head.build(size) for size in self.sizes)
        self.loss = loss.build()
        self.needs = type(self).needs | self.loss.needs
        self.together = self.loss.together
        self.min_batch = max(self.loss.min_batch, self.time_head.min_batch)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the contrasts within domains and the consistency of the two."""
        pooled = torch.cat([one.pooled for one in encoded])
        time, frequency = torch.split(pooled, list(self.sizes), dim=1)
        t, t_changed = self.time_head(time).chunk(2)
        f, f_changed = self.frequency_head(frequency).chunk(2)
        known = known_of(encoded[0].view, self.loss)
        within = self.loss(t, t_changed, known) + self.loss(f, f_changed, known)
        crossed = product((t, t_changed), (f, f_changed))
        first, *others = [self.loss(a, b, known) for a, b in crossed]
        consistency = (first - torch.stack(others) + self.margin).clamp(min=0).sum()
        total = self.balance * within + (1 - self.balance) * consistency
        return Loss(total, {"within": within.detach(), "consistency": consistency.detach()})
