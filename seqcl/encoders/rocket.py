"""Random dilated kernels: strong features without training (ROCKET family).

After MiniRocket (Dempster et al. 2021, arXiv 2012.08791) and MultiRocket (Tan et al. 2022,
arXiv 2102.00457): fixed kernels at many dilations, over the series and over its differences.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from seqcl.batch import Batch
from seqcl.encoders.base import masked
from seqcl.encoders.kernel_pool import KERNELS, STATISTICS, KernelPool, Statistic
from seqcl.encoders.random_kernels import TAPS, KernelEncoder
from seqcl.rng import Rng

__all__ = ["Rocket", "rocket_kernels"]

_ABOVE = 1e-5
"""What a bias is raised by: a response that equals it up to rounding is never counted."""


class Rocket(KernelEncoder):
    """Convolve with 84 fixed kernels at every dilation, then count, average and place.

    The kernels are all of 9 taps with three 2s and six -1s. Where a record has several channels,
    each kernel at each dilation sees a random few of them. Nothing is learnt by gradient:
    `prepare` takes dilations from the records' length, the biases of the counts from responses of
    random records, and the mean and deviation of every feature from the sample, so that `pooled`
    has features of one scale.

    Against MiniRocket: counts pass through ``arcsin sqrt``, which gives them one variance; half
    of the kernels see differences, and responses give their maximum, and mean and place of
    what is positive, as in MultiRocket; masks and unequal lengths are respected.

    Args:
        in_channels: C of the series.
        dilations: how many, spread by powers from 1 to an eighth of the median record.
        biases: counts per kernel and dilation.
        differences: whether to convolve ``x[t] - x[t - 1]`` too, with as many kernels again.
        statistics: of each response, besides the counts.
        segments: parts of a record that have features of their own, where the order of time
            matters; 1 = the whole.
    """

    kernels: Tensor

    def __init__(
        self,
        in_channels: int,
        *,
        dilations: Annotated[int, Ge(1)] = 9,
        biases: Annotated[int, Ge(1)] = 6,
        differences: bool = True,
        statistics: tuple[Statistic, ...] = STATISTICS,
        segments: Annotated[int, Ge(1)] = 1,
    ) -> None:
        inputs = 2 if differences else 1
        slots = dilations * inputs
        pool = KernelPool(inputs, slots, biases, statistics, segments)
        super().__init__(in_channels, dilations, KERNELS, pool)
        self.biases = biases
        self.register_buffer("kernels", rocket_kernels().clone(), persistent=False)

    @property
    def pool(self) -> KernelPool:
        """The pooling, whose biases and scales `prepare` draws."""
        assert isinstance(self.pooling, KernelPool)
        return self.pooling

    def weights(self, slot: int) -> Tensor:
        """Return the kernels (84, 9), the same for all slots."""
        return self.kernels

    def draw(self, sample: Batch, rng: Rng) -> None:
        """Draw each bias, as a quantile of the response of one random record to its kernel."""
        values = masked(sample.values, sample.mask).float()
        inputs = self.inputs(values, sample.mask)
        mask = torch.ones_like(values[:, 0], dtype=torch.bool)
        if sample.mask is not None and sample.mask.any():
            mask = sample.mask
        able = mask.any(1).nonzero().flatten().tolist()
        golden = (math.sqrt(5) - 1) / 2
        for slot in range(len(self.channels)):
            rows = rng.host.choice(able, KERNELS)
            for kernel, row in enumerate(rows.tolist()):
                one = tuple(series[row, None] for series in inputs)
                response = self.respond(one, slot, slice(kernel, kernel + 1))[0, 0, mask[row]]
                first = (slot * KERNELS + kernel) * self.biases
                levels = [(first + i + 1) * golden % 1 for i in range(self.biases)]
                quantiles = torch.quantile(response, response.new_tensor(levels))
                self.pool.levels[slot, kernel] = quantiles + _ABOVE


@cache
def rocket_kernels() -> Tensor:
    """Return the kernels (84, 9) of three 2s and six -1s, one tensor for all: not to be changed."""
    kernels = torch.full((KERNELS, TAPS), -1.0)
    for row, chosen in enumerate(combinations(range(TAPS), 3)):
        kernels[row, list(chosen)] = 2.0
    return kernels
