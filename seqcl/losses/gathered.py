"""The batch of all processes, and which of its records are this process's anchors.

A loss over several processes takes the mean over its own anchors against the columns of all.
Averaging the gradients over processes, as DDP does, then gives the gradient of one process with
the whole batch; there is no factor of the world size.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from seqcl.distributed import gather_with_grad, rank, world_size
from seqcl.losses.base import Known, check_views

__all__ = ["gather_views"]


def gather_views(
    name: str, a: Tensor, b: Tensor, known: Known | None
) -> tuple[Tensor, Tensor, Known, slice | None]:
    """Return views and knowledge of the records of all processes, and which are this one's.

    The slice is None in a single process, where all are. Raises ValueError, as `name`, where the
    views do not correspond.
    """
    check_views(name, a, b)
    known = Known() if known is None else known
    if world_size() == 1:
        return a, b, known, None
    first = rank() * len(a)
    whole = replace(
        known,
        labels=_gathered(known.labels),
        groups=_gathered(known.groups),
        start=_gathered(known.start),
        recordings=_gathered(known.recordings),
        records=_gathered(known.records),
    )
    return gather_with_grad(a), gather_with_grad(b), whole, slice(first, first + len(a))


def _gathered(x: Tensor | None) -> Tensor | None:
    return None if x is None else gather_with_grad(x)
