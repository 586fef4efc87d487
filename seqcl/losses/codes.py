"""Codes of records: who belongs together, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["apart", "check_codes", "dense", "joined"]


def apart(codes: Tensor) -> Tensor:
    """Return int64 codes (N,) in which each unknown record (below 0) has a code of its own."""
    own = -1 - torch.arange(len(codes), device=codes.device)
    return torch.where(codes < 0, own, codes.to(torch.int64))


def joined(labels: Tensor | None, records: Tensor | None) -> Tensor | None:
    """Return the labels (N,) with one of its own for each unknown record (below 0), copies alike.

    `records` numbers the records, from 0; None = each is there once.
    """
    if labels is None or records is None:
        return labels
    own = records + 1 + labels.amax().clamp(min=-1)
    return torch.where(labels < 0, own, labels)


def dense(codes: Tensor) -> Tensor:
    """Return the codes (N,) numbered 0, 1, ... in the order of their values."""
    order = codes.argsort()
    steps = codes[order].diff().ne(0).cumsum(0)
    ranks = torch.cat([steps.new_zeros(1), steps])
    return torch.empty_like(ranks).scatter_(0, order, ranks)


def check_codes(name: str, what: str, codes: Tensor, records: int) -> None:
    """Raise ValueError, as `name`, unless `codes` holds one whole number a record."""
    if codes.shape != (records,) or codes.is_floating_point():
        raise ValueError(
            f"{name}: {what} are {tuple(codes.shape)} {codes.dtype}; "
            f"one whole number for each of the {records} records is needed"
        )
