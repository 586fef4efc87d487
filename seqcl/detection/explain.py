"""Which channels an alarm comes from: exchange each with the nearest normal window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Explanation", "NormalWindows"]

Floats = npt.NDArray[np.float32]

_FLOATS = 1 << 20
"""Values of normal windows that are kept (4 MB)."""
_MOST = 512
_EXCHANGED = 16
"""Channels that are exchanged, those that differ most from the normal window: each costs a score,
and to exchange what is nearly the same changes nearly nothing."""


@dataclass(frozen=True)
class Explanation:
    """What an alarm at one row comes from."""

    shares: Floats
    """(C,) how much the score falls with each channel exchanged, summing to 1."""
    recording: int
    """Place of the training recording that holds the nearest normal window."""
    start: int
    """First row of that window in it."""


class NormalWindows:
    """Windows of the training data, evenly thinned, to compare others with."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.state: dict[str, Tensor] = {}

    def fit(self, parts: Sequence[Tensor]) -> None:
        """Keep windows of scaled recordings (T, C)."""
        places = [
            (number, start)
            for number, part in enumerate(parts)
            for start in range(0, len(part) - self.window + 1, max(1, self.window // 4))
        ]
        most = max(1, min(_MOST, _FLOATS // (self.window * parts[0].shape[1])))
        chosen = np.unique(np.linspace(0, len(places) - 1, most).round().astype(int))
        kept = [places[i] for i in chosen.tolist()]
        self.state = {
            "values": torch.stack([parts[n][start : start + self.window] for n, start in kept]),
            "places": torch.tensor(kept),
        }

    def explain(self, scaled: Tensor, rows: slice, score: Callable[[Tensor], float]) -> Explanation:
        """Exchange the `rows` of channels of scaled (T, C) in turn, of many the 16 most unusual.

        They are a window or, where a recording has only begun, fewer: the ends of normal windows
        then stand for them.
        The nearest normal window is the one with the smallest sum over channels of
        ``log(1 + mean squared difference)``, so that one wild channel does not choose it alone.
        Where no exchange lowers the score, shares go by the differences themselves.
        """
        here = scaled[rows]
        usual = self.state["values"][:, -len(here) :]
        apart = (usual - here).square().mean(1)  # (M, C)
        nearest = int(apart.log1p().sum(1).argmin())
        normal = usual[nearest]
        before = score(scaled)
        shares = np.zeros(scaled.shape[1], np.float32)
        for channel in apart[nearest].topk(min(_EXCHANGED, len(shares))).indices.tolist():
            if apart[nearest, channel] < 1e-12:
                continue
            changed = scaled.clone()
            changed[rows, channel] = normal[:, channel]
            shares[channel] = max(0.0, before - score(changed))
        if not shares.sum() > 0:
            shares = apart[nearest].numpy()
        total = float(shares.sum())
        recording, start = self.state["places"][nearest].tolist()
        start += self.window - len(here)
        return Explanation(shares / total if total else shares, recording, start)
