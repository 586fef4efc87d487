"""InfoNCE against a queue of keys: the loss of MoCo (He et al. 2020, arXiv 1911.05722)."""

from __future__ import annotations

import torch
from torch import Tensor

from seqcl.losses.base import check_temperature, check_views
from seqcl.losses.pairs import Pairs
from seqcl.losses.similarity import cross_lse, unit_rows

__all__ = ["queue_contrast"]


def queue_contrast(
    queries: Tensor, keys: Tensor, queue: Tensor, temperature: float | Tensor
) -> Tensor:
    """Return the mean of -log softmax of each query's own key among it and the queue (eq. 1).

    Rows become unit vectors. All rows equal give log(K + 1).

    Args:
        queries: (N, D), of any scale.
        keys: (N, D), each query's positive.
        queue: (K, D), the negatives of all; no gradient.
        temperature: above 0.
    """
    check_views("queue_contrast", queries, keys, least=1)
    check_temperature("queue_contrast", temperature)
    q, k, negatives = (unit_rows(x, temperature**-0.5) for x in (queries, keys, queue.detach()))
    positive = (q * k).sum(1)
    others = cross_lse(q, negatives, Pairs(skip=()))
    return (torch.logaddexp(positive, others) - positive).mean()
