"""Batches of images, and one augmentation with chosen parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.views.base import Augmentation


def images(rows: int = 4, channels: int = 3, size: tuple[int, int] = (9, 7)) -> Batch:
    values = torch.rand(rows, channels, *size, generator=torch.Generator().manual_seed(1))
    return Batch(values, torch.arange(rows))


def applied(augmentation: Augmentation, batch: Batch, **params: Any) -> Tensor:
    """Apply with these parameters, every record chosen."""
    return augmentation.apply(batch, {"chosen": None, **params}).values
