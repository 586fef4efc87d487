"""Scale channels by normal operation, hold gaps, keep absurd values finite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqcl.detection.series import filled

__all__ = ["Scaling"]

Floats = npt.NDArray[np.float32]

_CLIP = 20.0
_STEPS = 4
"""Steps of float32 at the mean that a constant channel may vary by."""


class Scaling:
    """Bring each channel to mean 0 and deviation 1, and values beyond 20 deviations to 20.

    A channel that was constant keeps its unit: what a valve does that never moved is counted in
    its own steps. A missing value is the last one before it; before the first one it is the mean.
    """

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def fit(self, parts: Sequence[Floats]) -> None:
        """Take means and deviations from recordings (T, C)."""
        rows = np.concatenate(parts).astype(np.float64)
        seen = np.maximum((~np.isnan(rows)).sum(0), 1)
        mean = np.nansum(rows, 0) / seen
        deviation = np.sqrt(np.nansum((rows - mean) ** 2, 0) / seen)
        with_any = ~np.isnan(rows).all(0)
        highest = np.where(with_any, np.fmax.reduce(rows), 0.0)
        lowest = np.where(with_any, np.fmin.reduce(rows), 0.0)
        constant = highest - lowest <= _STEPS * np.spacing(np.abs(mean).astype(np.float32))
        self.state = {
            "mean": torch.from_numpy(mean),
            "deviation": torch.from_numpy(np.where(constant, 1.0, deviation)),
            "constant": torch.from_numpy(constant),
        }

    def __call__(self, values: Floats, before: Floats | None = None) -> Tensor:
        """Return (T, C) float32 without a gap; `before` (C,) is held where the first rows miss."""
        return self.scaled(self.held(values, before))

    def held(self, values: Floats, before: Floats | None = None) -> Floats:
        """Return values (T, C) in which gaps hold the last value, or the mean before the first."""
        return filled(
            values, self.state["mean"].numpy().astype(np.float32) if before is None else before
        )

    def scaled(self, held: Floats) -> Tensor:
        """Scale (T, C) without gaps."""
        mean, deviation = (self.state[name].numpy() for name in ("mean", "deviation"))
        scaled = np.clip((held - mean) / deviation, -_CLIP, _CLIP)
        return torch.from_numpy(scaled.astype(np.float32))
