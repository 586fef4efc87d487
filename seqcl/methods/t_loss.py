"""T-Loss (Franceschi et al. 2019, arXiv 1901.10738): a stretch is like a stretch inside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor
from torch.nn.functional import logsigmoid

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.methods.base import Loss, Method
from seqcl.registry import Spec

__all__ = ["TLoss", "logistic_loss"]


class TLoss(Method):
    """Pull a stretch of a record and one inside it together by the logistic loss of word2vec.

    Wants the views `sub_series`: the anchor, then the positive. The paper draws K stretches of
    other records as negatives of each anchor; here they are the positives of all other records,
    weighted to count as K: the mean of what the paper draws, without its noise and without a third
    encoding. Over several processes they are the own records'. The paper's encoder ends in a linear
    layer after its pooling, on which the loss is taken; that is the head here, and the embedding is
    what comes before it.

    Args:
        encoders: the one encoder.
        negatives: K, how many negatives the others count as; 1 to 20 in the paper. Its code
            divides their sum by K, so that they count as 1.
        head: projection head; the loss is taken on its output.
    """

    most_views = 2
    gathers = False

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        negatives: Annotated[float, Gt(0)] = 10,
        head: Spec[Head] = Spec("heads", "linear"),
    ) -> None:
        super().__init__(encoders)
        self.negatives = negatives
        self.head = head.build(self.encoder.out_dim)
        self.min_batch = max(2, self.head.min_batch)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the loss of the first view as anchors and the second as positives."""
        anchor, positive = self.head(torch.cat([one.pooled for one in encoded])).chunk(2)
        near, far = logistic_loss(anchor, positive)
        parts = {"positive": near.detach(), "negative": far.detach()}
        return Loss(near + self.negatives * far, parts)


def logistic_loss(anchor: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss of the positives and that of all other pairs, in float32.

    For rows (B, D): ``-log sigmoid(a_i . p_i)``, and ``-log sigmoid(-a_i . p_j)`` over j != i.
    """
    with torch.autocast(anchor.device.type, enabled=False):
        dtype = torch.promote_types(anchor.dtype, torch.float32)
        products = anchor.to(dtype) @ positive.to(dtype).T
        own = products.diagonal()
        others = logsigmoid(-products).sum() - logsigmoid(-own).sum()
        count = len(products) * (len(products) - 1)
        return -logsigmoid(own).mean(), -others / count
