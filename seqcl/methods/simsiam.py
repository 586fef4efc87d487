"""SimSiam (Chen and He 2021, arXiv 2011.10566): predict the other view, with a stopped gradient."""

from __future__ import annotations

from collections.abc import Mapping

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.regression import cosine
from seqcl.methods.base import Loss, Method
from seqcl.methods.crossed import build_predictor, crossed, project
from seqcl.registry import Spec

__all__ = ["SimSiam"]


class SimSiam(Method):
    """Predict the projection of the other view, which gets no gradient; BYOL without a target.

    The mean of ``-cos`` over the ordered pairs of views (equation 2), so -1 is the best there is.
    Nothing pushes records apart but the stopped gradient, the predictor and batch norm: watch
    `relative_std` and `rankme` in the log.

    Args:
        encoders: the one encoder.
        head: projection head; 2,048 wide in the paper, as many outputs as its encoder.
        predictor: from projections to projections, a quarter as wide between them.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec(
            "heads", "mlp", {"layers": 3, "hidden": 512, "out_dim": 512, "last": "norm"}
        ),
        predictor: Spec[Head] = Spec("heads", "mlp", {"hidden": 128, "out_dim": 512}),
    ) -> None:
        super().__init__(encoders)
        self.head = head.build(self.encoder.out_dim)
        self.predictor = build_predictor(predictor, self.head)
        self.min_batch = max(self.head.min_batch, self.predictor.min_batch)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return minus the mean cosine of each view's prediction with the others."""
        projected = project(self.head, encoded)
        total = -crossed(cosine, [self.predictor(one) for one in projected], projected)
        return Loss(total, {"regression": total.detach()})
