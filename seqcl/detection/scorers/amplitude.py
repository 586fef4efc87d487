"""Amplitude: how far a row's values are from the usual ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqcl.detection.scorers.base import Scorer
from seqcl.rng import Rng

__all__ = ["Amplitude"]


class Amplitude(Scorer):
    """Take each channel's distance from its median in median absolute deviations; the largest.

    Where more than half of the training rows are equal, in standard deviations.

    Args:
        channels: C.
        window: rows of the detector's window; not used.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One score."""
        return ("amplitude",)

    @property
    def reach(self) -> int:
        """The row alone."""
        return 1

    def fit(self, parts: Sequence[Tensor], rng: Rng) -> None:
        """Take medians and deviations."""
        rows = torch.cat(list(parts)).double()
        centre = rows.median(0).values
        usual = 1.4826 * (rows - centre).abs().median(0).values
        spread = rows.std(0, correction=0)
        usual = torch.where(usual > 0.05 * spread, usual, spread)
        self.state = {"centre": centre, "usual": torch.where(usual > 1e-6, usual, 1.0)}

    def trailing(self, values: Tensor, hop: int = 1) -> Tensor:
        """Score rows as the base says."""
        away = (values[::hop] - self.state["centre"]).abs() / self.state["usual"]
        return away.amax(1, keepdim=True).float()
