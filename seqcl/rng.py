"""Randomness as a function of (seed, step, view): nothing to save, nothing to restore."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from seqcl.distributed import own_rows

__all__ = ["Rng"]


class Rng:
    """Draws for one step: small decisions on the host, per-record parameters on the device.

    Shapes (crop lengths) come from `host`, so no draw ever waits for the device. Parameters are
    drawn for the global batch and sliced by rank, so the world size does not change them.

    Args:
        key: non-negative integers such as ``(seed, step)``; equal keys give equal draws.
        device: where per-record parameters are drawn.
        rank, world, parts: this process's rows of the global batch, see `own_rows`.
    """

    def __init__(
        self,
        *key: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
    ) -> None:
        self.key = key
        self.device = torch.device(device)
        self.rank, self.world, self.parts = rank, world, parts

    @cached_property
    def host(self) -> np.random.Generator:
        """Draws on the host; made when first asked for, since most forks draw on one side only."""
        return np.random.Generator(np.random.PCG64(self._sequence()))

    @cached_property
    def generator(self) -> torch.Generator:
        """Draws on the device."""
        state = self._sequence().generate_state(2, np.uint32).view(np.uint64)
        return torch.Generator(self.device).manual_seed(int(state[0]))

    def fork(self, *key: int) -> Rng:
        """Return an independent stream for a part: a view, an augmentation."""
        own = {"rank": self.rank, "world": self.world, "parts": self.parts}
        return Rng(*self.key, *key, device=self.device, **own)

    def uniform(self, n: int, low: float, high: float, *shape: int) -> Tensor:
        """Draw (n, *shape) float32, uniform in [low, high)."""
        draws = torch.rand(n * self.world, *shape, generator=self.generator, device=self.device)
        return self._own(draws) * (high - low) + low

    def normal(self, n: int, *shape: int) -> Tensor:
        """Draw (n, *shape) float32, standard normal."""
        draws = torch.randn(n * self.world, *shape, generator=self.generator, device=self.device)
        return self._own(draws)

    def bernoulli(self, n: int, p: float, *shape: int) -> Tensor:
        """Draw (n, *shape) bool, True with probability `p`."""
        return self.uniform(n, 0.0, 1.0, *shape) < p

    def _sequence(self) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.key[0], spawn_key=self.key[1:])

    def _own(self, draws: Tensor) -> Tensor:
        return own_rows(draws, self.rank, self.world, self.parts)
