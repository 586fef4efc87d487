"""Average gradients and losses over processes, so that each takes the step of the whole batch."""

from __future__ import annotations

import torch

from seqcl.distributed import largest, mean_over_processes, world_size
from seqcl.methods.base import Loss, Method

__all__ = ["averaged"]


@torch.no_grad()
def averaged(method: Method, loss: Loss) -> Loss:
    """Average the gradients of `method` in place; returns the loss with averaged parts.

    One sum for all of it, instead of `DistributedDataParallel`, which wraps `forward`: encoders
    that run in chunks (`gradcache`) do not go through it. What is averaged is not finite
    anywhere as soon as it is not on one process, so all stop at the same step. `carry` stays
    that of this process's records. A single process does nothing.
    """
    if world_size() == 1:
        return loss
    weights = [weight for weight in method.parameters() if weight.requires_grad]
    reached = largest([int(weight.grad is not None) for weight in weights])
    weights = [weight for weight, some in zip(weights, reached, strict=True) if some]
    for weight in weights:
        if weight.grad is None:  # another process's records reached it
            weight.grad = torch.zeros_like(weight)
    grads = [weight.grad for weight in weights if weight.grad is not None]
    *means, total = mean_over_processes([*grads, *loss.parts.values(), loss.total])
    for grad, mean in zip(grads, means, strict=False):
        grad.copy_(mean)
    return Loss(total, dict(zip(loss.parts, means[len(grads) :], strict=True)), loss.carry)
