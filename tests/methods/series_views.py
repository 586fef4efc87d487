"""Encoders and encoded views that the tests of the time-series methods share."""

from __future__ import annotations

from typing import Any

import torch

from seqcl.batch import Batch, Encoded
from seqcl.encoders.base import Encoder
from seqcl.registry import Spec, registry

SMALL = {"width": 8, "depth": 2, "local_dim": 6, "pooling": Spec("poolings", "max")}


def encoder(name: str = "tcn", channels: int = 1, **options: Any) -> Encoder:
    """Return a small encoder with weights of seed 0."""
    torch.manual_seed(0)
    built: Encoder = registry("encoders")[name](channels, **(options or SMALL))
    return built


def batch(
    rows: int = 5, steps: int = 24, seed: int = 0, masked: bool = False, channels: int = 1
) -> Batch:
    """Return random records that begin at step 0; `masked` has padding and gaps."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, channels, steps, generator=generator)
    mask = None
    if masked:
        at = torch.arange(steps)
        mask = (at < torch.tensor([steps, steps // 2, 3, steps - 1, 1] * rows)[:rows, None]) & (
            at != 2
        )
        values = values.masked_fill(~mask[:, None], float("nan"))
    return Batch(values, torch.arange(rows), mask=mask, start=torch.zeros(rows, dtype=torch.int64))


def random_local(
    rows: int, steps: int, dim: int, seed: int = 0, mask: torch.Tensor | None = None
) -> Encoded:
    """Return an encoded view of random local features in float32."""
    generator = torch.Generator().manual_seed(seed)
    local = torch.randn(rows, dim, steps, generator=generator)
    view = batch(rows, steps)
    return Encoded(local.mean(2), local, mask, view)
