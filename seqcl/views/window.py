"""Windows of whole steps: what the view generators that crop cut their views with.

A window of `steps` of a batch's T steps is ``max(1, L * steps // T)`` steps of a record of
length L, in whole numbers, so that host and device agree without a word between them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.base import zero_masked

__all__ = ["random_start", "share", "window", "window_lengths"]


def share(batch: Batch, steps: int) -> Tensor:
    """Return `steps` of T scaled down to each record: (B,) int64, or (1,) where all are equal.

    ``share(batch, T)`` is each record's own length.
    """
    if batch.lengths is None:
        return torch.full((1,), steps, device=batch.values.device)
    return (batch.lengths * steps).div(batch.values.shape[-1], rounding_mode="floor")


def window_lengths(batch: Batch, steps: int) -> Tensor:
    """Return how long a window of `steps` is in each record: (B,) int64, or (1,)."""
    return share(batch, steps).clamp(min=1).minimum(share(batch, batch.values.shape[-1]))


def random_start(batch: Batch, slack: Tensor, rng: Rng) -> Tensor:
    """Draw (B,) int64, uniform over 0 to `slack` (B,) or (1,), both included."""
    draws = rng.uniform(len(batch), 0.0, 1.0)
    return torch.minimum((draws * (slack + 1)).long(), slack).clamp_(min=0)


def window(batch: Batch, start: Tensor, steps: int) -> Batch:
    """Cut a window out of each record.

    Args:
        batch: values (B, C, T).
        start: (B,) int64, first step of each window; the window must fit in its record.
        steps: of T; a shorter record gives its share and is padded.

    Returns:
        The windows (B, C, steps), with `Batch.start` moved on by `start`.
    """
    channels, total = batch.values.shape[1:]
    offsets = torch.arange(steps, device=start.device)
    index = (start.unsqueeze(1) + offsets).clamp_(max=total - 1)  # (B, steps)
    mask = None if batch.mask is None else batch.mask.gather(1, index)
    lengths, host = batch.lengths, batch.host_lengths
    if lengths is not None:
        lengths = window_lengths(batch, steps)
        inside = offsets < lengths.unsqueeze(1)
        mask = inside if mask is None else mask & inside
    if host is not None:
        host = tuple(min(n, max(1, n * steps // total)) for n in host)
    values = batch.values.gather(2, index.unsqueeze(1).expand(-1, channels, -1))
    return batch.with_values(
        zero_masked(values, mask),
        mask=mask,
        lengths=lengths,
        host_lengths=host,
        start=start if batch.start is None else batch.start + start,
        tokens=None if batch.tokens is None else batch.tokens.gather(1, index),
    )
