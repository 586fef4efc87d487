"""SwAV (Caron et al. 2020, arXiv 2006.09882): views swap their assignments to prototypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from seqcl.batch import Encoded
from seqcl.distributed import gather_with_grad, rank
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.losses.similarity import unit_rows
from seqcl.losses.sinkhorn import sinkhorn
from seqcl.losses.tiles import full_precision
from seqcl.methods.base import Loss, Method, Progress
from seqcl.methods.crossed import project
from seqcl.methods.other_groups import OtherGroups
from seqcl.methods.queue import Queue
from seqcl.registry import Spec

__all__ = ["SwAV"]

_ASSIGNED = 2
"""Views that are assigned; all others only predict."""


class SwAV(Method):
    """Predict from every view the prototypes that another view of the record belongs to.

    Wants the views `multi_crop`: the first two, long, are assigned to prototypes such that a
    batch uses all of these equally; every other view, long or short, predicts those assignments
    by a softmax over its products with the prototypes (equation 2). Assignments are balanced over
    the records of all processes.

    Args:
        encoders: the one encoder.
        head: projection head; 2,048 wide in the paper, with 128 outputs.
        prototypes: how many; 3,000 in the paper. No more than the records that are assigned
            together, or balance means little.
        temperature: of the softmax.
        epsilon: of the assignments; smaller = nearer to one prototype each.
        iterations: of Sinkhorn and Knopp.
        queue: past records that are assigned with the batch where it is small; 3,840 in the
            paper. They count once the queue is full (there: from the 15th epoch). 0 = none.
        frozen: part of training over which the prototypes stay as they are; one epoch of several
            hundred in the paper.
        neighbours: nearest past records of other groups (`data.group`: speakers, machines) whose
            mean assignment a record predicts too, as much as its own; 0 = none. So do NNCLR
            (arXiv 2104.14548) and MYOW (Azabou et al. 2021, arXiv 2102.10106) within one group.
            A record without a group has none.
        past: records among which they are looked for.
        settled: part of training after which neighbours count.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        head: Spec[Head] = Spec("heads", "mlp"),
        prototypes: Annotated[int, Ge(2)] = 3000,
        temperature: Annotated[float, Gt(0)] = 0.1,
        epsilon: Annotated[float, Gt(0)] = 0.05,
        iterations: Annotated[int, Ge(1)] = 3,
        queue: Annotated[int, Ge(0)] = 0,
        frozen: Annotated[float, Ge(0), Lt(1)] = 0.01,
        neighbours: Annotated[int, Ge(0)] = 0,
        past: Annotated[int, Ge(1)] = 1024,
        settled: Annotated[float, Ge(0), Lt(1)] = 0.3,
    ) -> None:
        super().__init__(encoders)
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.frozen, self.settled = frozen, settled
        self.head = head.build(self.encoder.out_dim)
        self.prototypes = nn.Linear(self.head.out_dim, prototypes, bias=False)
        self._normalise()
        self.queue = Queue(queue, _ASSIGNED, self.head.out_dim) if queue else None
        self.others = None
        if neighbours:
            self.others = OtherGroups(past, self.head.out_dim, prototypes, neighbours)
            self.takes = frozenset({"groups"})
        self.min_batch = max(type(self).min_batch, self.head.min_batch)

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the mean cross-entropy of predictions; carries what is kept of the records."""
        projected = [unit_rows(one) for one in project(self.head, encoded)]
        scores = [self._scores(one) for one in projected]  # (B, P) each
        predicted = [log_softmax(one / self.temperature, dim=1) for one in scores]
        codes = [self._assign(scores[i].detach(), i) for i in range(_ASSIGNED)]
        losses = [
            -(own * other).sum(1).mean()
            for i, own in enumerate(codes)
            for j, other in enumerate(predicted)
            if j != i
        ]
        total = swapped = torch.stack(losses).mean()
        parts, carry = {"swapped": swapped.detach()}, {}
        groups = encoded[0].view.groups
        if self.others is not None and groups is not None:
            own = unit_rows(projected[0] + projected[1]).detach()
            target, found = self.others.targets(own, groups)
            near = torch.stack([-(target * one).sum(1).mean() for one in predicted]).mean()
            total = (swapped + near) / (1 + gather_with_grad(found).mean())
            parts["neighbours"] = near.detach()
            carry["others"] = self.others.rows_of(own, (codes[0] + codes[1]) / 2, groups)
        if self.queue is not None:
            carry["projected"] = torch.stack(projected[:_ASSIGNED], dim=1).detach()
        return Loss(total, parts, carry)

    def _scores(self, projected: Tensor) -> Tensor:
        with full_precision(projected):
            scores: Tensor = self.prototypes(projected)
            return scores

    @torch.no_grad()
    def _assign(self, scores: Tensor, view: int) -> Tensor:
        """Return this process's rows (B, P) of the assignments of all."""
        first = rank() * len(scores)
        own = slice(first, first + len(scores))
        scores = gather_with_grad(scores)
        codes = sinkhorn(scores, self.epsilon, self.iterations)[own]
        if self.queue is None:
            return codes
        with_past = torch.cat([scores, self._scores(self.queue.rows[:, view])])
        return torch.where(
            self.queue.full, sinkhorn(with_past, self.epsilon, self.iterations)[own], codes
        )

    def after_backward(self, progress: Progress) -> None:
        """Drop the gradient of frozen prototypes, so that no optimizer touches them."""
        if progress.fraction < self.frozen:
            self.prototypes.weight.grad = None

    def after_step(self, progress: Progress, loss: Loss) -> None:
        """Give prototypes unit length again, then queue the projections."""
        self._normalise()
        if self.others is not None and "others" in loss.carry:
            self.others.push(loss.carry["others"], progress.fraction >= self.settled)
        if self.queue is not None:
            self.queue.push(loss.carry["projected"])

    @torch.no_grad()
    def _normalise(self) -> None:
        self.prototypes.weight.copy_(unit_rows(self.prototypes.weight))
