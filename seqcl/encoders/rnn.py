"""Recurrent encoder: GRU (Cho et al. 2014) or LSTM (Hochreiter and Schmidhuber 1997)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from seqcl.encoders.base import Encoder
from seqcl.encoders.convolution import real
from seqcl.encoders.pooling import Pooling
from seqcl.registry import Spec

__all__ = ["Rnn"]

_CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class Rnn(Encoder):
    """Read the steps in order and, where bidirectional, in reverse order too.

    A step inside a gap is read as zeros. Padding is never read before a real step: the forward
    direction meets it last, and the reverse direction starts at each record's last real step,
    by reversing the record within its own length. That equals packing, needs no lengths on the
    host, and keeps the fast kernels for whole batches. Weights start as PyTorch starts them.

    Args:
        in_channels: C of the series.
        cell: `gru` or `lstm`.
        width: features per direction.
        layers: recurrent layers; each reads both directions of the one below.
        bidirectional: read in both directions; False for a causal encoder.
        local_dim: features per step.
        pooling: steps to one vector; `last` suits one direction only.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        cell: Literal["gru", "lstm"] = "gru",
        width: Annotated[int, Ge(1)] = 128,
        layers: Annotated[int, Ge(1)] = 1,
        bidirectional: bool = True,
        local_dim: Annotated[int, Ge(1)] = 80,
        pooling: Spec[Pooling] = Spec("poolings", "stats"),
    ) -> None:
        super().__init__(in_channels, local_dim, pooling.build(local_dim))
        self.bidirectional = bidirectional
        both = width * (2 if bidirectional else 1)
        self.onward, self.reverse = (
            nn.ModuleList(
                _CELLS[cell](both if layer else in_channels, width, batch_first=True)
                for layer in range(layers if wanted else 0)
            )
            for wanted in (True, bidirectional)
        )
        self.out = nn.Linear(both, local_dim)

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return (B, local_dim, T)."""
        steps = values.transpose(1, 2)  # (B, T, C)
        order = _reversal(steps, mask) if self.bidirectional else None
        for layer, onward in enumerate(self.onward):
            below = real(steps, mask)
            steps = onward(below)[0]
            if order is not None:
                against = self.reverse[layer](_reordered(below, order))[0]
                steps = torch.cat((steps, _reordered(against, order)), dim=2)
        features: Tensor = self.out(steps)
        return features.transpose(1, 2)


def _reversal(steps: Tensor, mask: Tensor | None) -> Tensor:
    """Return (B, T): the step that comes in each place when real parts are reversed.

    Steps after the last real one keep their place, so that reordering twice changes nothing.
    """
    places = torch.arange(steps.shape[1], device=steps.device).expand(steps.shape[:2])
    if mask is None:
        return places.flip(1)
    length = torch.where(mask, places + 1, 0).amax(1, keepdim=True)
    return torch.where(places < length, length - 1 - places, places)


def _reordered(steps: Tensor, order: Tensor) -> Tensor:
    return steps.gather(1, order.unsqueeze(2).expand_as(steps))
