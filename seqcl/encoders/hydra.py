"""Competing random kernels: which of a group answers most, step by step (HYDRA).

After Dempster, Schmidt and Webb 2023, arXiv 2203.13652.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.encoders.random_kernels import TAPS, KernelEncoder, PoolResponses
from seqcl.rng import Rng

__all__ = ["Hydra"]

_ABOVE = 1e-5
"""What a response must exceed: rounding alone never wins."""


class Hydra(KernelEncoder):
    """Let the random kernels of a group compete at every step, and add up what the winners give.

    A kernel's two features are the roots of its largest responses' mean, where it has the largest
    of its group, and of its smallest ones' where it has the smallest: a soft histogram over a
    dictionary of patterns, where `rocket` counts each pattern by itself. They err in other
    records, so the two side by side (`joined`) tell more than either.

    Against the paper: both are sums of responses, where it counts the smallest; features share
    one factor, which brings their norm to 1 on the sample, where it divides each by its
    deviation; masks and unequal lengths are respected.

    Args:
        in_channels: C of the series.
        dilations: how many, spread by powers from 1 to an eighth of the median record.
        groups: for each dilation, of the series and of its differences.
        kernels: of a group, 9 normal numbers each, less their mean, of absolute sum 1.
    """

    drawn: Tensor

    def __init__(
        self,
        in_channels: int,
        *,
        dilations: Annotated[int, Ge(1)] = 6,
        groups: Annotated[int, Ge(1)] = 32,
        kernels: Annotated[int, Ge(2), Le(64)] = 8,
    ) -> None:
        slots = 2 * dilations
        super().__init__(in_channels, dilations, groups, _Competition(slots, groups, kernels))
        self.register_buffer("drawn", torch.zeros(slots, kernels, groups, TAPS))

    def weights(self, slot: int) -> Tensor:
        """Return the kernels (kernels, groups, 9) of one slot."""
        return self.drawn[slot]

    def draw(self, sample: Batch, rng: Rng) -> None:
        """Draw the kernels."""
        drawn = torch.from_numpy(rng.host.normal(size=tuple(self.drawn.shape)))
        drawn -= drawn.mean(-1, keepdim=True)
        self.drawn.copy_(drawn / drawn.abs().sum(-1, keepdim=True))


class _Competition(PoolResponses):
    """Pools responses (B, kernels * groups, T'), the first kernel of all groups first."""

    def __init__(self, slots: int, groups: int, kernels: int) -> None:
        super().__init__(slots, kernels * groups, 2 * kernels * groups)
        self.groups, self.kernels = groups, kernels

    def scales(self, variance: Tensor) -> Tensor:
        """Return one factor for all, which brings their norm to 1."""
        norm = variance.sum().sqrt()
        return torch.where(norm > 0, 1 / norm, 0.0).expand_as(variance)

    def raw(self, responses: Tensor, mask: Tensor | None, slot: int) -> Tensor:
        """Return (B, 2 * groups * kernels), what is largest before what is smallest.

        A response's lowest bits are its kernel's number here, so that one pass finds the largest
        and whose it is; what that changes is below a millionth of it, or 64 millionths with 64.
        """
        rows, steps = len(responses), responses.shape[2]
        low = (1 << (self.kernels - 1).bit_length()) - 1
        number = torch.arange(self.kernels, dtype=torch.int32, device=responses.device)
        marked = responses.view(torch.int32).view(rows, self.kernels, self.groups, steps)
        marked.bitwise_and_(~low).bitwise_or_(number[:, None, None])
        values = marked.view(torch.float32)
        largest, smallest = values.amax(1), values.amin(1)  # (B, G, T')
        count = steps if mask is None else mask.sum(1, keepdim=True).clamp(min=1)
        found = []
        for best, excess in ((largest, largest - _ABOVE), (smallest, -_ABOVE - smallest)):
            won = excess.clamp_(min=0)
            if mask is not None:
                won = won.masked_fill_(~mask[:, None], 0.0)
            winner = (best.view(torch.int32) & low).long().clamp_(max=self.kernels - 1)  # of a NaN
            total = won.new_zeros(rows, self.groups, self.kernels).scatter_add_(2, winner, won)
            found.append((total.flatten(1) / count).sqrt())
        return torch.cat(found, 1)
