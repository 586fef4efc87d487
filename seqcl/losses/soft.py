"""Soft assignments between records and between steps (SoftCLT, Lee et al. 2024, 2312.16424).

A pair that is no positive is still pulled together, with a weight that falls with its distance:
records whose values are alike, steps that are near.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["record_weights", "time_weights"]


def record_weights(
    values: Tensor, real: Tensor | None, sharpness: float, ceiling: float = 0.5
) -> Tensor:
    """Return (B, B): ``2 ceiling sigmoid(-sharpness d_ij)`` and 1 on the diagonal (equation 1).

    d is the root mean squared difference of two records over the steps that are real in both,
    divided by the largest of the batch, so that it runs from 0 to 1. The paper takes dynamic time
    warping over the whole training set beforehand; the Euclidean distance inside a batch costs one
    small matrix product, and neither a pass over the data nor a table of its size. Records that
    share no step are as far apart as any two.

    Args:
        values: (B, C, T); equal steps are compared.
        real: (B, T) True = real step; None = all.
        sharpness: 0 gives `ceiling` to every pair.
        ceiling: largest weight of a pair, 0 to 1.
    """
    x = values.detach().to(torch.promote_types(values.dtype, torch.float32))
    seen = torch.ones_like(x[:, 0]) if real is None else real.to(x.dtype)
    x = _centred(x, seen.unsqueeze(1))
    with torch.autocast(x.device.type, enabled=False):
        power = x.square().sum(1) @ seen.T  # (B, B): of i where j is real
        square = power + power.T - 2 * x.flatten(1) @ x.flatten(1).T
        common = seen @ seen.T
    mean = square.clamp(min=0) / common.clamp(min=1)
    root = torch.where(common > 0, mean, mean.amax()).sqrt()
    root = root.fill_diagonal_(0.0)
    near = torch.sigmoid(-sharpness * root / root.amax().clamp(min=1e-12))
    return (2 * ceiling * near).fill_diagonal_(1.0)


def _centred(x: Tensor, seen: Tensor) -> Tensor:
    """Return `x` (B, C, T) about each channel's mean, at most 1 and 0 where it was not seen.

    Distances stay, but for their unit; squares of what lies far from 0 would drown them.
    """
    x = torch.where(seen > 0, x, 0.0)
    x = x / x.abs().amax().clamp(min=torch.finfo(x.dtype).tiny)
    mean = x.sum((0, 2), keepdim=True) / seen.sum().clamp(min=1)
    return torch.where(seen > 0, x - mean, 0.0)


def time_weights(steps: int, sharpness: float, like: Tensor) -> Tensor:
    """Return (steps, steps): ``2 sigmoid(-sharpness |t - t'|)`` (equation 3), on `like`'s device.

    float32, or float64 where `like` is; the diagonal is 1.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    at = torch.arange(steps, device=like.device, dtype=dtype)
    return 2 * torch.sigmoid(-sharpness * (at - at.unsqueeze(1)).abs())
