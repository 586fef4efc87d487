"""Shortage of memory: what one process meets is met by all, before they wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import torch

from seqcl.distributed import largest, world_size

__all__ = ["together", "unless_short"]

T = TypeVar("T")


def unless_short(make: Callable[[], T]) -> T | None:
    """Return what `make` gives; None where this or another process ran out of memory."""
    made = None
    with suppress(torch.OutOfMemoryError):  # its traceback would keep the activations
        made = make()
    (short,) = largest([made is None])
    return None if short else made


def together(make: Callable[[], T]) -> T:
    """Return what `make` gives; raise torch.OutOfMemoryError on all processes if one does."""
    if world_size() == 1:
        return make()
    made = unless_short(make)
    if made is None:
        raise torch.OutOfMemoryError("out of memory, here or on another process")
    return made
