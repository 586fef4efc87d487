"""Every record once an epoch: in the dataset's order, or in a random one."""

from __future__ import annotations

import numpy as np

from seqcl.data.samplers.base import Rows, Sampler

__all__ = ["SequentialSampler", "ShuffleSampler"]


class SequentialSampler(Sampler):
    """Every record once, in the dataset's order."""

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return 0, 1, 2, ..., whatever the seed."""
        return np.arange(self.size)


class ShuffleSampler(Sampler):
    """Every record once, in a new random order each epoch."""

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return a permutation of all rows."""
        return np.random.default_rng((seed, epoch)).permutation(self.size)
