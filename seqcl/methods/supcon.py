"""Supervised contrastive learning (Khosla et al. 2020, arXiv 2004.11362)."""

from __future__ import annotations

from collections.abc import Mapping

from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.losses.positives import PositivesLoss
from seqcl.methods.simclr import SimCLR
from seqcl.methods.temperature import Temperature
from seqcl.registry import Spec

__all__ = ["SupCon"]


class SupCon(SimCLR):
    """Pull all views of all records of a class together, push the other classes away.

    SimCLR with the paper's loss (equation 2, "out") and batches of P classes x K records. A
    record without a label has its own other view as its only positive; `semi_supervised`
    leaves it out of this loss instead. With `loss` triplet or margin and their positives=label it
    is the supervised form of those.

    Args:
        encoders: the one encoder.
        head: projection head.
        loss: a loss whose positives are told by labels.
        temperature: takes the place of the loss's own number; None = that number.

    Raises ValueError where labels do not tell the positives of the loss, or where a temperature is
    given to a loss that has none.
    """

    needs = frozenset({"two_views", "labels"})
    sampler = Spec("samplers", "pk")

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp"),
        loss: Spec[PairLoss] = Spec("losses", "supcon"),
        temperature: Spec[Temperature] | None = None,
    ) -> None:
        super().__init__(encoders, head=head, loss=loss, temperature=temperature)
        if "labels" not in self.loss.together:
            advice = (
                "set its positives=label"
                if isinstance(self.loss, PositivesLoss)
                else "use supcon, or triplet or margin with positives=label"
            )
            raise ValueError(
                f"loss={loss.name}: labels do not tell its positives, and SupCon learns from "
                f"nothing else; {advice}, or use the method simclr"
            )
