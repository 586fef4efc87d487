"""Windows of recordings, drawn to train on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seqcl.rng import Rng

__all__ = ["Windows"]


class Windows:
    """Windows at any place of several recordings."""

    def __init__(self, parts: Sequence[Tensor], rows: int) -> None:
        self._values = torch.cat([part.T for part in parts], 1).contiguous()
        self._lengths = np.array([len(part) for part in parts])
        self._begins = np.concatenate([[0], self._lengths.cumsum()[:-1]])
        self._rows = torch.arange(rows)

    def draw(self, count: int, spare: int, rng: Rng) -> tuple[Tensor, Tensor, Tensor]:
        """Return places (count,), starts and recordings; `spare` rows are left after each."""
        room = np.maximum(self._lengths - len(self._rows) - spare + 1, 1)
        drawn = rng.host.integers(0, room.sum(), count)
        ends = room.cumsum()
        recording = np.searchsorted(ends, drawn, "right")
        start = drawn - (ends - room)[recording]
        place = start + self._begins[recording]
        return torch.from_numpy(place), torch.from_numpy(start), torch.from_numpy(recording)

    def at(self, places: Tensor) -> Tensor:
        """Return windows (B, C, T)."""
        return self._values[:, places[:, None] + self._rows].transpose(0, 1)
