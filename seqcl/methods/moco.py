"""MoCo v2 (Chen et al. 2020, arXiv 2003.04297; He et al. 2020, arXiv 1911.05722)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.queue_contrast import queue_contrast
from seqcl.losses.similarity import unit_rows
from seqcl.methods.base import Loss, Method, Progress
from seqcl.methods.crossed import crossed, project
from seqcl.methods.ema import Ema
from seqcl.methods.queue import Queue
from seqcl.registry import Spec

__all__ = ["MoCo"]


class MoCo(Method):
    """Find a record's other view, encoded by a target network, among a queue of past keys.

    So negatives do not come from the batch, which may be small. Differs from the paper in two
    ways. The loss is symmetric by default (the mean over the ordered pairs of views, as in the
    authors' code for CIFAR-10), since every view is encoded anyway. And the batch norm of the
    target is not shuffled, for which one process has no others: where the contrast is solved and
    the embedding gets no better, take an encoder with ``norm: layer``.

    Args:
        encoders: the one encoder.
        head: projection head.
        temperature: of the contrast.
        momentum: of the target network. 0.99 where training has hundreds of steps; with less the
            keys of the queue no longer agree, and at 0.9 an embedding can collapse.
        queue: K, keys that are kept. 65,536 in the paper, for 1.3 million records; 4,096 in the
            authors' code for CIFAR-10. Keys of the record itself are in it, so let it hold fewer
            keys than the data have records.
        symmetric: take queries from every view; False: from the first, keys from the second, and
            there are no others.
    """

    steady = False

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp", {"norm": "none"}),
        temperature: Annotated[float, Gt(0)] = 0.2,
        momentum: Annotated[float, Ge(0), Le(1)] = 0.999,
        queue: Annotated[int, Ge(1)] = 4096,
        symmetric: bool = True,
    ) -> None:
        super().__init__(encoders)
        self.temperature, self.momentum, self.symmetric = temperature, momentum, symmetric
        self.head = head.build(self.encoder.out_dim)
        self.target = Ema(self.encoder, self.head)
        self.queue = Queue(queue, self.head.out_dim)
        self.min_batch = max(type(self).min_batch, self.head.min_batch)
        if not symmetric:
            self.most_views = 2

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the contrast of queries with the keys of other views; carries one view's keys."""
        queries = project(self.head, encoded if self.symmetric else encoded[:1])
        keys = self.target(tuple(one.view for one in encoded))
        total = (
            crossed(self._contrast, queries, keys)
            if self.symmetric
            else self._contrast(queries[0], keys[1])
        )
        return Loss(total, {"contrast": total.detach()}, {"keys": unit_rows(keys[1])})

    def _contrast(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queue_contrast(queries, keys, self.queue.rows, self.temperature)

    def after_step(self, progress: Progress, loss: Loss) -> None:
        """Move the target network on, then queue the keys."""
        self.target.follow(self.encoder, self.head, self.momentum)
        self.queue.push(loss.carry["keys"])
