"""Semi-supervised contrast: all records by their views, those with a label by their class too.

Vaze et al. 2022, "Generalized Category Discovery" (arXiv 2201.02609), equations 1 to 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Encoded
from seqcl.distributed import all_reduce_sum, world_size
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.base import Known, PairLoss, temperature_of
from seqcl.losses.codes import dense
from seqcl.losses.gathered import gather_views
from seqcl.losses.pairs import Pairs, Same
from seqcl.losses.similarity import cross_lse, unit_rows
from seqcl.losses.two_views import halves
from seqcl.methods.base import Loss
from seqcl.methods.simclr import SimCLR
from seqcl.methods.temperature import Temperature
from seqcl.registry import Spec

__all__ = ["SemiSupervised", "labelled_supcon"]


class SemiSupervised(SimCLR):
    """Weigh a loss over all records against a supervised one over those with a label.

    ``(1 - weight) * loss + weight * supervised``, equation 3. The supervised term (equation 2)
    is SupCon among the labelled records alone: records without a label are neither anchors
    nor negatives in it. A batch holds as many labelled records as others unless
    ``training.sampler`` says otherwise.

    Args:
        encoders: the one encoder.
        head: projection head of both terms.
        loss: between two views of all records; it sees no label unless it asks for labels.
        weight: of the supervised term, 0.35 in the paper.
        supervised_temperature: of the supervised term.
        temperature: takes the place of both numbers; None = those numbers.
    """

    needs = frozenset({"two_views", "labels"})
    together = frozenset({"labels"})
    sampler = Spec("samplers", "pk", {"records": 2, "others": 2})

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp"),
        loss: Spec[PairLoss] = Spec("losses", "nt_xent"),
        weight: Annotated[float, Ge(0), Le(1)] = 0.35,
        supervised_temperature: Annotated[float, Gt(0)] = 0.1,
        temperature: Spec[Temperature] | None = None,
    ) -> None:
        super().__init__(encoders, head=head, loss=loss, temperature=temperature)
        self.weight, self.supervised_temperature = weight, supervised_temperature

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the weighted sum of both terms, each a mean over the pairs of views."""
        projected = self.project(encoded)
        contrast = self.contrast(projected, encoded)
        supervised = self._supervised(projected, encoded)
        total = (1 - self.weight) * contrast + self.weight * supervised
        parts = {"contrast": contrast.detach(), "supervised": supervised.detach()}
        return Loss(total, {**parts, **self.facts()})

    def _supervised(self, projected: tuple[Tensor, ...], encoded: tuple[Encoded, ...]) -> Tensor:
        labels = encoded[0].view.labels
        if labels is None:
            raise ValueError("SemiSupervised: the batch has no labels; -1 is an unknown one")
        now = None if self.temperature is None else self.temperature()
        known = Known(labels=labels, temperature=now)
        temperature = temperature_of(self.supervised_temperature, known)
        losses = []
        for a, b in combinations(projected, 2):
            a, b, everywhere, own = gather_views("semi_supervised", a, b, known)
            assert everywhere.labels is not None
            losses.append(labelled_supcon(a, b, everywhere.labels, temperature, anchors=own))
        return torch.stack(losses).mean()


def labelled_supcon(
    a: Tensor,
    b: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    *,
    anchors: slice | None = None,
) -> Tensor:
    """Return SupCon (arXiv 2004.11362, equation 2) of the records with a label, others left out.

    Equals ``supcon`` of the rows that have a label; 0 where none has one. No row is selected, so
    nothing waits for the device.

    Args:
        a: (N, D) projections of one view, of any scale.
        b: (N, D) projections of the other view, rows in the same order.
        labels: (N,) class codes; below 0 = unknown.
        temperature: above 0; a scalar tensor gets its gradient.
        anchors: the records that count as anchors, all by default; over several processes their
            mean is such that averaging over processes gives that of one.
    """
    own = slice(0, len(a)) if anchors is None else anchors
    unknown, codes = (labels < 0).repeat(2), dense(labels)
    z = unit_rows(torch.cat([a, b]), temperature**-0.5)  # (2N, D)
    sums = torch.zeros_like(z).index_add(0, codes.repeat(2), z)
    sizes = z.new_zeros(len(z)).index_add(0, codes.repeat(2), torch.ones_like(z[:, 0]))
    is_anchor = ~unknown[: len(a)][own]
    terms = []
    for rows, first in halves(z, own):
        hide = Same(torch.ones_like(is_anchor), unknown)
        lse = cross_lse(rows, z, Pairs((first,), (), (hide,)))
        others = (rows * (sums[codes[own]] - rows)).sum(1) / (sizes[codes[own]] - 1)
        terms.append(torch.where(is_anchor, lse - others, 0.0).sum())
    count = all_reduce_sum(2 * is_anchor.sum(dtype=z.dtype)) / world_size()
    return torch.stack(terms).sum() / count.clamp(min=1 / world_size())
