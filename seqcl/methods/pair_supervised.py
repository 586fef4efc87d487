"""Learning from pairs that somebody marked as alike or different."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional as F

from seqcl.batch import Encoded
from seqcl.distributed import all_reduce_sum, world_size
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.losses.similarity import unit_rows
from seqcl.methods.base import Loss
from seqcl.methods.simclr import SimCLR
from seqcl.methods.temperature import Temperature
from seqcl.registry import Spec

__all__ = ["PairSupervised", "marked_margin", "marked_sigmoid", "partners"]


class PairSupervised(SimCLR):
    """Weigh a loss over all records against one over the pairs that bear a mark.

    ``(1 - weight) * loss + weight * marked``. A mark (`data.pair`) says of two records that they
    are alike, or with a leading ``!`` that they are different; ``Batch.pairs`` holds it. Batches
    keep pairs whole unless ``training.sampler`` says otherwise.

    Args:
        encoders: the one encoder.
        head: projection head of both terms.
        loss: between two views of all records; not taken at ``weight=1``.
        marked: `sigmoid`, see `marked_sigmoid`, or `margin`, see `marked_margin`.
        weight: of the term of the marked pairs.
        sharpness: divides cosines in `sigmoid`, as a temperature does.
        margin: of `margin`, a distance of unit vectors (0 to 2).
        temperature: takes the place of the number in `loss`; None = that number.

    Raises ValueError where a temperature is given to a loss that has none.
    """

    needs = frozenset({"two_views", "pairs"})
    together = frozenset({"pairs"})
    gathers = False
    sampler = Spec("samplers", "pairs")

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp"),
        loss: Spec[PairLoss] = Spec("losses", "nt_xent"),
        marked: Literal["sigmoid", "margin"] = "sigmoid",
        weight: Annotated[float, Ge(0), Le(1)] = 0.5,
        sharpness: Annotated[float, Gt(0)] = 0.2,
        margin: Annotated[float, Gt(0), Le(2)] = 1.0,
        temperature: Spec[Temperature] | None = None,
    ) -> None:
        super().__init__(encoders, head=head, loss=loss, temperature=temperature)
        self.marked, self.weight = marked, weight
        self.sharpness, self.margin = sharpness, margin

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the weighted sum of both terms, each a mean over the pairs of views."""
        projected = self.project(encoded)
        marked = self._marked(projected, encoded[0].view.pairs)
        if self.weight == 1:
            return Loss(marked, {"marked": marked.detach()})
        contrast = self.contrast(projected, encoded)
        total = (1 - self.weight) * contrast + self.weight * marked
        parts = {"contrast": contrast.detach(), "marked": marked.detach()}
        return Loss(total, {**parts, **self.facts()})

    def _marked(self, projected: tuple[Tensor, ...], pairs: Tensor | None) -> Tensor:
        if pairs is None:
            raise ValueError("PairSupervised: the batch has no pairs; 0 stands for no mark")
        partner, sign = partners(pairs)
        losses = [
            marked_sigmoid(a, b[partner], sign, self.sharpness)
            if self.marked == "sigmoid"
            else marked_margin(a, b[partner], sign, self.margin)
            for a, b in combinations(projected, 2)
        ]
        return torch.stack(losses).mean()


def partners(pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row of each record's partner, and whether the two are alike: (B,) each.

    Args:
        pairs: (B,) `Batch.pairs`; a number is shared by at most two records.

    Returns:
        Rows, and 1 = alike, -1 = different, 0 = no mark, or its partner is not in the batch.
    """
    order = pairs.argsort(stable=True)
    ordered = pairs[order]
    same = (ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)
    after = F.pad(same, (0, 1))  # the next one in order is the partner
    before = F.pad(same, (1, 0))
    place = torch.arange(len(pairs), device=pairs.device) + after.long() - before.long()
    partner = torch.empty_like(order).scatter_(0, order, order[place])
    whole = torch.empty_like(order).scatter_(0, order, (after | before).long())
    return partner, pairs.sign() * whole


def marked_sigmoid(a: Tensor, b: Tensor, sign: Tensor, sharpness: float) -> Tensor:
    """Return the mean of ``log(1 + exp(-sign * cos / sharpness))`` over the marked pairs.

    The sigmoid loss of Zhai et al. 2023 (arXiv 2303.15343, section 3.2) on pairs that are given,
    without its bias, which offsets the many negatives of a batch. Lower is better; 0 without a
    marked pair.

    Args:
        a: (B, D) projections of any scale.
        b: (B, D) those of each record's partner, in another view.
        sign: (B,) 1 = alike, -1 = different, 0 = not marked.
        sharpness: temperature of the cosine.
    """
    cosine = (unit_rows(a) * unit_rows(b)).sum(1)
    return _mean(F.softplus(-sign * cosine / sharpness), sign)


def marked_margin(a: Tensor, b: Tensor, sign: Tensor, margin: float) -> Tensor:
    """Return the contrastive loss of Hadsell et al. 2006 (CVPR, equation 4) on marked pairs.

    With d the distance of unit vectors: the mean of ``d**2 / 2`` where alike, of
    ``max(0, margin - d)**2 / 2`` where different. Arguments are those of `marked_sigmoid`.
    """
    square = (unit_rows(a) - unit_rows(b)).square().sum(1)
    # A distance of 0 has no slope; 1e-12 is below what float32 tells from 0.
    apart = (margin - (square + 1e-12).sqrt()).clamp(min=0).square()
    return _mean(torch.where(sign > 0, square, apart) / 2, sign)


def _mean(values: Tensor, sign: Tensor) -> Tensor:
    """Return the mean where `sign` is not 0; 0 where it is nowhere.

    Over several processes their average is the mean over all marked pairs, whoever holds them.
    """
    marked = sign != 0
    count = all_reduce_sum(marked.sum(dtype=values.dtype)) / world_size()
    return torch.where(marked, values, 0.0).sum() / count.clamp(min=1 / world_size())
