"""The row that is not what its window makes one expect, by TS2Vec's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from seqcl.batch import Batch
from seqcl.detection.scorers.base import Scorer
from seqcl.detection.windows import Windows
from seqcl.encoders.tcn import Tcn
from seqcl.methods.ts2vec import TS2Vec
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.frontend import IdentityFrontend
from seqcl.views.overlapping import Overlapping

__all__ = ["HiddenRow"]

_RATE = 1e-3
_BATCH = 8
_DEPTH = 5
_AT_ONCE = 1 << 16
"""Rows of windows that are encoded at once."""
_SMALLEST = 1e-3


class HiddenRow(Scorer):
    """Hide the last row of a window and measure how far its features move.

    The features are TS2Vec's (Yue et al. 2022, arXiv 2106.10466), trained on masked, overlapping
    crops of the recordings, and the distance is the sum of absolute differences, as there. The
    paper divides it by that of the rows before; a detector has a scale of its own.

    Args:
        channels: C.
        window: rows of the detector's window, which is what the encoder sees.
        steps: of gradient.
        width: channels inside the encoder, and features of a row.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        steps: Annotated[int, Ge(1)] = 150,
        width: Annotated[int, Ge(1)] = 32,
    ) -> None:
        super().__init__(channels, window)
        self.steps, self.width = steps, width
        self.encoder = self._encoder()

    @property
    def names(self) -> tuple[str, ...]:
        """One score."""
        return ("hidden",)

    @property
    def reach(self) -> int:
        """The window."""
        return self.window

    def fit(self, parts: Sequence[Tensor], rng: Rng) -> None:
        """Train the encoder on stretches of two windows."""
        windows = Windows(parts, min(2 * self.window, *(len(part) for part in parts)))
        make_views = Overlapping(before=(Spec("augmentations", "step_mask"),))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.host.integers(2**31)))
            self.encoder = self._encoder()
            method = TS2Vec({"main": self.encoder}).train()
            optimiser = torch.optim.AdamW(method.parameters(), _RATE)
            for step in range(self.steps):
                place, _, _ = windows.draw(_BATCH, 0, rng.fork(2 * step))
                batch = Batch(windows.at(place).contiguous(), torch.arange(_BATCH))
                views = make_views(batch, IdentityFrontend(self.channels), rng.fork(2 * step + 1))
                optimiser.zero_grad()
                method(views).total.backward()
                optimiser.step()
        self.encoder.eval()
        self.state = dict(self.encoder.state_dict())

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back a `state` that was saved, which is the encoder's."""
        self.encoder.load_state_dict(state)
        self.state = state

    @torch.no_grad()
    def trailing(self, values: Tensor, hop: int = 1) -> Tensor:
        """Score rows as the base says."""
        windows = values.unfold(0, self.window, hop)
        blocks = torch.split(windows, max(1, _AT_ONCE // self.window))
        return torch.cat([self._moved(block) for block in blocks]).unsqueeze(1)

    def _moved(self, windows: Tensor) -> Tensor:
        hidden = windows.clone()
        hidden[..., -1] = 0.0
        seen, unseen = (self.encoder.features(x, None, None)[..., -1] for x in (windows, hidden))
        return (seen - unseen).abs().sum(1) + _SMALLEST

    def _encoder(self) -> Tcn:
        return Tcn(self.channels, width=self.width, depth=_DEPTH, local_dim=self.width)
