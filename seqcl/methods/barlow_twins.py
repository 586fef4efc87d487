"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230): features that agree and are distinct."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.methods.crossed import project
from seqcl.methods.simclr import SimCLR
from seqcl.registry import Spec

__all__ = ["BarlowTwins"]


class BarlowTwins(SimCLR):
    """Make the cross-correlation of the features of two views the identity.

    SimCLR with the paper's loss, a wider head, and batch norm that sees one view at a time. No
    negatives, so a small batch costs precision of the correlations and nothing else.

    Args:
        encoders: the one encoder.
        head: projection head; three layers of 8,192 in the paper, and the wider the better.
        loss: of the projections of two views.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp", {"layers": 3, "out_dim": 1024, "last": "none"}),
        loss: Spec[PairLoss] = Spec("losses", "barlow_twins"),
    ) -> None:
        super().__init__(encoders, head=head, loss=loss)

    def project(self, encoded: tuple[Encoded, ...]) -> tuple[Tensor, ...]:
        """Return the projection of each view, (B, out_dim) each."""
        return project(self.head, encoded)
