"""Change the chosen images alone, where they can be told apart without waiting."""

from __future__ import annotations

from collections.abc import Callable

import torch

from seqcl.batch import Batch, may_be_read
from seqcl.views.base import Params

__all__ = ["apply_to_chosen"]

_MULTIPLE = 8


def apply_to_chosen(batch: Batch, params: Params, apply: Callable[[Batch, Params], Batch]) -> Batch:
    """Return what `apply` makes of a batch, without the work for images that are not chosen.

    The values are the same. On a GPU `apply` goes over all images and selects afterwards. Worth
    it where `apply` costs several times as much as a copy of the batch.

    Args:
        batch: images (B, C, H, W); `apply` keeps their shape and sees no other field of them.
        params: tensors of one row per record, and `chosen`.
        apply: of an augmentation that treats records apart.
    """
    chosen = params["chosen"]
    if chosen is None or not may_be_read(batch.values):
        return apply(batch, params)
    rows = chosen.nonzero().squeeze(1)
    if not len(rows):
        return batch
    # Few numbers of images: a convolution is prepared anew for each size that it meets.
    padded = torch.cat([rows, rows[:1].expand(-len(rows) % _MULTIPLE)])
    part = {name: value[padded] for name, value in params.items() if name != "chosen"}
    some = Batch(batch.values[padded], batch.ids[padded])
    changed = apply(some, {**part, "chosen": None}).values
    return batch.with_values(batch.values.index_copy(0, padded, changed))
