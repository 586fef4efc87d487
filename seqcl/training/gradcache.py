"""GradCache: the gradient of a large batch in the memory of a small one.

Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"
(arXiv 2101.06983), section 3: the loss needs the embeddings of the whole batch, but given
dL/d(embedding) each record's part of dL/d(weights) needs that record alone. Where the paper
stores random states we draw them from a key, so both passes see the same dropout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from seqcl.batch import Batch, Encoded
from seqcl.methods.base import Loss, Method
from seqcl.training.seeding import seed_torch
from seqcl.training.shortage import together

__all__ = ["chunked_backward"]

Key = tuple[int, ...]


def chunked_backward(
    method: Method, views: tuple[Batch, ...], chunk: int, key: Key, share: float = 1.0
) -> Loss:
    """Add `share` times the gradient of the loss to the weights, encoding chunk after chunk.

    Three steps: encode every chunk without gradient; take the objective, with heads, on the whole
    batch, which gives the gradient of `pooled` and `local`; encode every chunk again, with
    gradient, and send that back. Loss and gradient are those of the whole batch for an encoder
    that treats records apart (layer norm). Batch norm inside an encoder takes its statistics of a
    chunk at a time, as it would in accumulation; its running statistics see each chunk once.

    Args:
        method: gives `encode` and `objective`; which method it is does not matter.
        views: of the whole batch.
        chunk: records of a chunk at most; chunks differ by one record at most.
        key: integers that seed torch, together with the chunk.
        share: the part of the gradient that is wanted.
    """
    method.check(views)
    device = views[0].values.device
    before = [buffer.clone() for buffer in method.buffers()]
    with torch.no_grad():
        parts = together(lambda: list(_encoded(method, views, chunk, key)))
        for buffer, value in zip(method.buffers(), before, strict=True):
            buffer.copy_(value)  # the second pass counts the chunks
    whole = _joined(parts, views)
    del parts, before
    seed_torch(*key, device=device)
    loss = method.objective(whole)
    torch.autograd.backward([loss.total * share])
    loss = loss.detached()
    grads = [leaf.grad for leaf in _leaves(whole)]
    first = 0
    for part in _encoded(method, views, chunk, key):
        rows = slice(first, first + len(part[0].pooled))
        _send_back(_leaves(part), [None if grad is None else grad[rows] for grad in grads])
        first = rows.stop
    return loss


def _encoded(
    method: Method, views: tuple[Batch, ...], chunk: int, key: Key
) -> Iterator[tuple[Encoded, ...]]:
    """Encode chunk after chunk, each with random numbers of its own."""
    count = len(views[0])
    chunks = -(-count // chunk)
    for number in range(chunks):
        rows = slice(count * number // chunks, count * (number + 1) // chunks)
        seed_torch(*key, number, device=views[0].values.device)
        yield method.encode(tuple(view[rows] for view in views))


def _joined(parts: Sequence[tuple[Encoded, ...]], views: tuple[Batch, ...]) -> tuple[Encoded, ...]:
    """Join what the chunks gave, view by view; `pooled` and `local` collect their gradients."""
    by_view = zip(*parts, strict=True)
    whole = tuple(_join(chunks, view) for chunks, view in zip(by_view, views, strict=True))
    for leaf in _leaves(whole):
        leaf.requires_grad_()
    return whole


def _join(chunks: Sequence[Encoded], view: Batch) -> Encoded:
    pooled = torch.cat([one.pooled for one in chunks])
    return Encoded(
        pooled, _cat([one.local for one in chunks]), _cat([one.mask for one in chunks]), view
    )


def _cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(present) if present else None


def _leaves(encoded: tuple[Encoded, ...]) -> list[Tensor]:
    tensors = (tensor for one in encoded for tensor in (one.pooled, one.local))
    return [tensor for tensor in tensors if tensor is not None]


def _send_back(outputs: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
    """Back-propagate where there is a gradient, and weights that learn from it."""
    pairs = [
        (output, grad)
        for output, grad in zip(outputs, grads, strict=True)
        if grad is not None and output.requires_grad
    ]
    if pairs:
        torch.autograd.backward([out for out, _ in pairs], [grad for _, grad in pairs])
