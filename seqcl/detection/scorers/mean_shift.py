"""Local mean shift: the last rows against those before them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from seqcl.detection.scorers.base import Scorer
from seqcl.rng import Rng

__all__ = ["MeanShift"]


class MeanShift(Scorer):
    """Compare the mean of a quarter of a window with that of the four windows before it.

    The largest difference over the channels, each in units of its root mean square in training.

    Args:
        channels: C.
        window: rows of the detector's window.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One score."""
        return ("shift",)

    @property
    def reach(self) -> int:
        """A quarter of a window, and four windows."""
        return max(4, self.window // 4) + 4 * self.window

    def fit(self, parts: Sequence[Tensor], rng: Rng) -> None:
        """Take the usual size of a difference in each channel."""
        found = torch.cat([self._differences(self._drawn_out(part)) for part in parts])
        self.state = {"usual": (found.square().mean(0) + 1e-6).sqrt()}

    def trailing(self, values: Tensor, hop: int = 1) -> Tensor:
        """Score rows as the base says."""
        return (self._differences(values)[::hop].abs() / self.state["usual"]).amax(1, keepdim=True)

    def _drawn_out(self, values: Tensor) -> Tensor:
        """Repeat the first row where a training part is shorter than the reach."""
        missing = self.reach + self.window - len(values)
        return torch.cat([values[:1].expand(missing, -1), values]) if missing > 0 else values

    def _differences(self, values: Tensor) -> Tensor:
        total = F.pad(values.double().cumsum(0), (0, 0, 1, 0))
        recent = max(4, self.window // 4)
        ends = total[self.reach :]
        middle = total[self.reach - recent : len(total) - recent]
        begins = total[: len(total) - self.reach]
        return ((ends - middle) / recent - (middle - begins) / (self.reach - recent)).float()
