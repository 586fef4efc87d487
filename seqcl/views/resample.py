"""The one primitive behind crop, speed, warp, flip and permutation: read at positions.

Each of them is a map from output steps to positions in its input. Maps compose, so a row of
them costs one interpolation, and blurs once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.views.base import Augmentation, Params, real_steps, where_chosen, zero_masked

__all__ = ["Resampling", "resample", "resample_at"]


def resample_at(
    values: Tensor,
    positions: Tensor,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Read each record at its own fractional positions, by linear interpolation.

    Args:
        values: (B, C, T).
        positions: (B, T') float32 in steps; outside [0, T - 1] the end step is read.
        mask: (B, T) True = real. An output step is real only where every input step that it
            reads with a weight is real; what masked steps hold is never read.
        lengths: (B,) steps of the output before its padding; None = all T'.

    Returns:
        Values (B, C, T'), 0 where masked, in the dtype of `values`; and their mask (B, T'), None
        where all is real.
    """
    last = values.shape[-1] - 1
    weight = positions.clamp(0, last)
    left = weight.long()
    weight.frac_()
    if mask is not None:
        values = zero_masked(values, mask)
        right = (left + 1).clamp_(max=last)
        mask = mask.gather(1, left) & (mask.gather(1, right) | (weight == 0))
    if lengths is not None:
        inside = torch.arange(left.shape[1], device=lengths.device) < lengths.unsqueeze(1)
        mask = inside if mask is None else mask & inside
    index = left.unsqueeze(1).expand(-1, values.shape[1], -1)
    following = torch.cat([values[..., 1:], values[..., -1:]], -1)  # cheaper than a second index
    out = values.gather(2, index)
    out.lerp_(following.gather(2, index), weight.unsqueeze(1).to(values.dtype))
    return zero_masked(out, mask), mask


@dataclass(frozen=True, kw_only=True)
class Resampling(Augmentation):
    """An augmentation that moves steps: a map of positions, within each record's own length.

    T and `lengths` stay as they are.
    """

    @abstractmethod
    def locate(self, positions: Tensor, last: Tensor, params: Params) -> Tensor:
        """Return where output `positions` lie in the input, (B, T) in steps.

        Args:
            positions: (B, T) or (1, T), float32 in [0, last].
            last: (B, 1) or (1, 1), the last step of each record.
            params: from `draw`.
        """

    def apply(self, batch: Batch, params: Params) -> Batch:
        """Move the steps of the chosen records; masked steps come out 0."""
        return resample(batch, [(self, params)])


def resample(batch: Batch, moves: Sequence[tuple[Resampling, Params]]) -> Batch:
    """Apply moves one after another with a single interpolation; no moves, no change.

    Raises ValueError for a batch with tokens, which have no value between two steps.
    """
    if not moves:
        return batch
    if batch.tokens is not None:
        names = ", ".join(type(move).__name__ for move, _ in moves)
        raise ValueError(f"{names}: tokens cannot be interpolated; use windows of whole steps")
    rows, _, steps = batch.values.shape
    last = _last_step(batch)
    grid = torch.arange(steps, dtype=torch.float32, device=last.device).unsqueeze(0)
    positions = torch.minimum(grid, last)
    for move, params in reversed(moves):
        # Clamped after each map: rounding must not reach beyond a record, into its padding.
        moved = torch.minimum(move.locate(positions, last, params).clamp_(min=0), last)
        positions = where_chosen(params["chosen"], moved, positions)
    values, mask = resample_at(
        batch.values, positions.expand(rows, steps), real_steps(batch), batch.lengths
    )
    return batch.with_values(values, mask=mask)


def _last_step(batch: Batch) -> Tensor:
    """Return the last step of each record, float32, (B, 1), or (1, 1) where all are equal."""
    if batch.lengths is not None:
        return (batch.lengths - 1).clamp(min=0).float().unsqueeze(1)
    return torch.full((1, 1), batch.values.shape[-1] - 1.0, device=batch.values.device)
