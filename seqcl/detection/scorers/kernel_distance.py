"""Distances of random-kernel features of windows from normal operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from seqcl.detection.kernels import WindowFeatures
from seqcl.detection.scorers.base import WindowScorer
from seqcl.rng import Rng

__all__ = ["KernelDistance"]

_SAMPLE = 2_048
"""Training windows that directions are taken from."""
_BLOCK = 4_096
"""Rows that are convolved at once."""
_HOPS, _HOPS_SHORT = 8, 4
"""Windows that begin within one window's length, offline; fewer where they are short."""


class KernelDistance(WindowScorer):
    """Measure how far the features of a window are from those of training, in two metrics.

    `rare` is the Mahalanobis distance with a small ridge: features that never change in normal
    operation count most. `far` has a large ridge and is near the Euclidean distance: what
    changes much may change, but not by more. Which of the two an anomaly shows in depends on its
    kind. Both are taken in the leading directions of the training windows' covariance.

    Args:
        channels: C.
        window: rows of the detector's window.
        scale: rows of this scorer's windows, in the detector's.
        directions: principal directions that are kept at most.
        ridges: what is added to each direction's variance, over their mean, for `rare` and `far`.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        scale: Annotated[float, Gt(0)] = 1.0,
        directions: Annotated[int, Ge(1)] = 256,
        ridges: tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)]] = (0.01, 10.0),
    ) -> None:
        rows = max(4, round(window * scale))
        super().__init__(channels, window, rows, _HOPS if scale >= 1 else _HOPS_SHORT)
        self.scale, self.directions, self.ridges = scale, directions, ridges
        self.features = WindowFeatures(channels, self.rows)

    @property
    def names(self) -> tuple[str, ...]:
        """`rare` and `far`, with their scale."""
        return tuple(f"{name} x{self.scale:g}" for name in ("rare", "far"))

    @property
    def reach(self) -> int:
        """The window, and what the kernels see before it."""
        return self.features.before + self.rows

    def fit(self, parts: Sequence[Tensor], rng: Rng) -> None:
        """Take features' scales, then the directions of a sample of windows."""
        sample = self.features.fit(parts, rng, _SAMPLE)
        centre = sample.mean(0)
        variance, axes = _directions(sample - centre, self.directions)
        self.state = {"offset": centre @ axes, "axes": axes, "variance": variance}
        self.state |= {f"features.{name}": value for name, value in self.features.state.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back a `state` that was saved, and the features' part of it."""
        self.state = state
        own = {name: value for name, value in state.items() if name.startswith("features.")}
        self.features.state = {name.removeprefix("features."): own[name] for name in own}

    def trailing(self, values: Tensor, hop: int = 1) -> Tensor:
        """Score rows as the base says, a block at a time."""
        count = (len(values) - self.reach) // hop + 1
        block = max(1, _BLOCK // hop)
        found = []
        for first in range(0, count, block):
            last = min(first + block, count) - 1
            found.append(self._distances(values[first * hop : last * hop + self.reach], hop))
        return torch.cat(found)

    def _distances(self, values: Tensor, hop: int) -> Tensor:
        features = self.features(values, hop, self.features.before)
        squares = (features @ self.state["axes"] - self.state["offset"]).square()
        variance = self.state["variance"]
        weights = [1 / (variance + ridge * variance.mean()) for ridge in self.ridges]
        return (squares @ torch.stack(weights, 1)).sqrt()


def _directions(sample: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the leading variances (k,) and axes (D, k) of a centred sample (n, D)."""
    rows = sample.double()
    wide = len(rows) < rows.shape[1]
    spread, vectors = torch.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    spread, vectors = spread.flip(0)[:most].clamp(min=0), vectors.flip(1)[:, :most]
    real = spread > 1e-9 * spread[:1].clamp(min=1e-30)
    spread, vectors = spread[real], vectors[:, real]
    axes = rows.T @ vectors / spread.sqrt() if wide else vectors
    return (spread / len(rows)).float(), axes.float().contiguous()
