"""Pooling: local features to one vector per record, over real steps only.

Every pooling maps (B, D, T') with an optional mask (B, T') to (B, out_dim). What stands in masked
steps, NaN included, does not matter; a record without a real step gives zeros.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from seqcl.errors import UsageError

__all__ = [
    "AttentionPool",
    "LastPool",
    "MaxPool",
    "MeanPool",
    "Pooling",
    "SegmentPool",
    "StatsPool",
    "WholeRecords",
]

_VARIANCE_FLOOR = 1e-6
"""Added under the root: the gradient of a constant row's deviation is 0 instead of NaN."""

_POSITIVE_SLOPE = 8.0
"""Steepness of the soft count: 0.5 at 0, 0.98 at 0.5, so unit-scale features are clear-cut."""


class Pooling(nn.Module, ABC):
    """Maps features (B, in_dim, T') and mask (B, T') or None to (B, out_dim)."""

    kind: ClassVar[str] = "poolings"

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.in_dim, self.out_dim = in_dim, out_dim

    @abstractmethod
    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B, out_dim); rows of `mask` (B, T') that are all False give zeros."""


class WholeRecords(Pooling):
    """Stands where an encoder has no pooling of local features, and refuses windows of them."""

    def __init__(self, in_dim: int, out_dim: int, reason: str) -> None:
        super().__init__(in_dim, out_dim)
        self.reason = reason

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Raise UsageError."""
        raise UsageError(
            f"{self.reason}; use the level instance, or short windows (data.window) for steps"
        )


class MeanPool(Pooling):
    """Average over real steps."""

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, in_dim)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B, in_dim)."""
        return _mean(_real_steps(features, mask), mask)


class MaxPool(Pooling):
    """Largest value of each feature over real steps."""

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, in_dim)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B, in_dim)."""
        return _max(_real_steps(features, mask), mask)


class LastPool(Pooling):
    """Features of the last real step; what a causal encoder knows at the end."""

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, in_dim)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B, in_dim)."""
        if mask is None:
            return features[..., -1]
        places = torch.arange(mask.shape[1], device=mask.device)
        last = torch.where(mask, places, 0).amax(1)
        index = last.view(-1, 1, 1).expand(-1, 1, features.shape[1])
        return _real_steps(features, mask).gather(1, index).squeeze(1)


class AttentionPool(Pooling):
    """Average weighted by the softmax of each step's product with one learnt query.

    The query starts at 0, so an untrained attention pooling is the mean.
    """

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, in_dim)
        self.query = nn.Parameter(torch.zeros(in_dim))

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B, in_dim)."""
        steps = _real_steps(features, mask)
        scores = (steps * self.query).sum(2, keepdim=True)  # (B, T', 1)
        if mask is not None:
            lowest = torch.finfo(scores.dtype).min  # not -inf: a row of it would give NaN
            scores = scores.masked_fill(~mask.unsqueeze(2), lowest)
        return (steps * scores.softmax(dim=1)).sum(1)


class StatsPool(Pooling):
    """Mean, largest value, standard deviation and share of positive steps, concatenated.

    The share of positive values is what makes random convolution kernels strong features
    (Dempster et al. 2020, arXiv 1910.13051). Here it is a soft count, the mean of a steep
    sigmoid: it has a gradient, and a step within rounding of 0 cannot flip it.
    """

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, 4 * in_dim)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B, 4 * in_dim): all means, then maxima, deviations, positive shares."""
        steps = _real_steps(features, mask)
        mean = _mean(steps, mask)
        variance = _mean((steps - mean.unsqueeze(1)).square(), mask)
        deviation = (variance + _VARIANCE_FLOOR).sqrt()
        positive = _mean((steps * _POSITIVE_SLOPE).sigmoid(), mask)
        pooled = torch.cat((mean, _max(steps, mask), deviation, positive), dim=1)
        return pooled if mask is None else _real_rows(pooled, mask)


class SegmentPool(Pooling):
    """Average over each of some equal parts of a record's real steps, in the order of time.

    Where a word is said, or a call has a beginning and an end, the order tells what the mean
    forgets. Part i of n steps are those from floor(i n / S) up to ceil((i + 1) n / S), as in
    `torch.nn.functional.adaptive_avg_pool1d`; a record of fewer steps repeats some.

    Args:
        in_dim: features per step.
        segments: S, how many parts.
    """

    def __init__(self, in_dim: int, *, segments: Annotated[int, Ge(1), Le(64)] = 8) -> None:
        super().__init__(in_dim, segments * in_dim)
        self.segments = segments

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return (B, segments * in_dim), all features of the first part first."""
        steps = _real_steps(features, mask)  # (B, T', D)
        at = torch.arange(steps.shape[1], device=steps.device)
        part = torch.arange(self.segments, device=steps.device)[:, None]
        count = at.new_full((1, 1, 1), steps.shape[1])
        if mask is not None:
            at = mask.cumsum(1).unsqueeze(1) - 1  # (B, 1, T'), among the real steps
            count = mask.sum(1).view(-1, 1, 1)
        first = (part * count).div(self.segments, rounding_mode="floor")  # (B, S, 1)
        stop = -((part + 1) * -count).div(self.segments, rounding_mode="floor")
        inside = (at >= first) & (at < stop)  # (B, S, T')
        if mask is not None:
            inside = inside & mask.unsqueeze(1)
        weights = inside.to(steps.dtype)
        weights = weights / weights.sum(2, keepdim=True).clamp(min=1)
        return (weights @ steps).flatten(1)


def _real_steps(features: Tensor, mask: Tensor | None) -> Tensor:
    """Return `features` (B, D, T') as (B, T', D), which most encoders have in memory.

    Masked steps become 0, so that no NaN in them reaches a sum or a gradient.
    """
    steps = features.transpose(1, 2)
    return steps if mask is None else steps.masked_fill(~mask.unsqueeze(2), 0.0)


def _mean(steps: Tensor, mask: Tensor | None) -> Tensor:
    """Average (B, T', D) over real steps: (B, D)."""
    if mask is None:
        return steps.mean(1)
    count = mask.sum(1, keepdim=True).clamp(min=1)
    return steps.masked_fill(~mask.unsqueeze(2), 0.0).sum(1) / count


def _max(steps: Tensor, mask: Tensor | None) -> Tensor:
    """Largest of (B, T', D) over real steps: (B, D)."""
    if mask is None:
        return steps.max(1).values
    lowest = steps.masked_fill(~mask.unsqueeze(2), -torch.inf)
    return _real_rows(lowest.max(1).values, mask)


def _real_rows(pooled: Tensor, mask: Tensor) -> Tensor:
    """Return `pooled` (B, D) with zeros where `mask` (B, T') has no real step."""
    return pooled.masked_fill(~mask.any(1, keepdim=True), 0.0)
