"""Constants of augmentations as tensors, copied to a device once."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

__all__ = ["constant"]

Numbers = tuple[float, ...] | tuple[tuple[float, ...], ...]


def constant(numbers: Numbers, like: Tensor) -> Tensor:
    """Return the numbers in the dtype and on the device of `like`; never write into them.

    A copy from the host makes it wait for a GPU, so each is made once.
    """
    return _made(numbers, like.dtype, like.device)


@cache
def _made(numbers: Numbers, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype, device=device)
