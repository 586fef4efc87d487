"""Norms over (B, T, C) that padding and gaps cannot touch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.batch import may_be_read

__all__ = ["StepBatchNorm", "StepLayerNorm", "StepNorm", "step_norm"]

StepNorm = Literal["batch", "layer"]


class StepBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` whose statistics run over the real steps of the batch alone.

    In training, more padding or garbage in masked steps changes neither the output of real steps
    nor the running statistics. On a CPU the real steps are selected, for torch to norm. A GPU would
    have to be waited for to know how many there are: there masked steps get weight 0.
    """

    def forward(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise (B, T, C) per channel; `mask` (B, T) True = real step."""
        if mask is None and self.training and steps[..., 0].numel() == 1:
            mask = torch.ones_like(steps[..., 0], dtype=torch.bool)  # torch refuses one step
        rows = steps.reshape(-1, steps.shape[-1])
        if mask is None or not self.training:
            return super().forward(rows).view(steps.shape)
        if may_be_read(steps):
            places = mask.flatten().nonzero().squeeze(1)
            if len(places) > 1:  # as above
                real = super().forward(rows.index_select(0, places))
                return torch.zeros_like(rows).index_copy_(0, places, real).view(steps.shape)
        weight = mask.unsqueeze(2).to(torch.float32)
        count = weight.sum().clamp(min=1)
        real = torch.where(mask.unsqueeze(2), steps.float(), 0.0)
        mean = real.sum((0, 1)) / count
        var = ((real - mean).square() * weight).sum((0, 1)) / count
        with torch.no_grad():
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            unbiased = var * count / (count - 1).clamp(min=1)
            assert self.running_mean is not None
            assert self.running_var is not None
            self.running_mean.lerp_(mean, self.momentum or 0.1)
            self.running_var.lerp_(unbiased, self.momentum or 0.1)
        gain = self.weight * torch.rsqrt(var + self.eps)
        return torch.addcmul(self.bias, steps - mean, gain).to(steps.dtype)


class StepLayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` over the channels of each step, which padding cannot reach."""

    def forward(self, steps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise each step of (B, T, C); `mask` is not needed."""
        return F.layer_norm(steps, self.normalized_shape, self.weight, self.bias, self.eps)


def step_norm(name: StepNorm, width: int) -> StepBatchNorm | StepLayerNorm:
    """Return the norm of that name for C = `width`."""
    return StepBatchNorm(width) if name == "batch" else StepLayerNorm(width)
