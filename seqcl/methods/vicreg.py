"""VICReg (Bardes et al. 2022, arXiv 2105.04906): invariance, variance and covariance."""

from __future__ import annotations

from collections.abc import Mapping

from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.base import PairLoss
from seqcl.methods.barlow_twins import BarlowTwins
from seqcl.registry import Spec

__all__ = ["VICReg"]


class VICReg(BarlowTwins):
    """Pull views together while every feature varies and no two vary together.

    Barlow Twins with another loss: each view is kept from collapse by itself.

    Args:
        encoders: the one encoder.
        head: the expander; three layers of 8,192 in the paper.
        loss: of the projections of two views.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp", {"layers": 3, "out_dim": 1024, "last": "none"}),
        loss: Spec[PairLoss] = Spec("losses", "vicreg"),
    ) -> None:
        super().__init__(encoders, head=head, loss=loss)
