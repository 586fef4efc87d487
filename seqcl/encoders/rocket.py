"""Random dilated kernels: strong features without training (ROCKET family).

After MiniRocket (Dempster et al. 2021, arXiv 2012.08791) and MultiRocket (Tan et al. 2022,
arXiv 2102.00457): fixed kernels at many dilations, over the series and over its differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from seqcl.batch import Batch, Encoded
from seqcl.encoders.base import Encoder, masked
from seqcl.encoders.kernel_pool import KERNELS, STATISTICS, KernelPool, Statistic
from seqcl.rng import Rng

__all__ = ["Rocket", "random_channels", "rocket_kernels"]

_TAPS = 9
_MOST_CHANNELS = 9
"""That a kernel sees. Where there are more, adding those up first is faster than a product."""
_ABOVE = 1e-5
"""What a bias is raised by: a response that equals it up to rounding is never counted."""
_AT_ONCE = 1 << 13
"""Steps that one call convolves: their responses to 84 kernels stay in a core's cache."""


class Rocket(Encoder):
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

    trainable = False
    autocast = False
    exportable = False

    kernels: Tensor
    channels: Tensor
    dilations: Tensor

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
        super().__init__(in_channels, slots * KERNELS, pool)
        self.per_input = dilations
        self.biases = biases
        self.register_buffer("kernels", rocket_kernels().clone(), persistent=False)
        self.register_buffer("channels", torch.ones(slots, KERNELS, in_channels))
        self.register_buffer("dilations", torch.ones(dilations, dtype=torch.int64))
        self._on_host: tuple[int, ...] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    @property
    def pool(self) -> KernelPool:
        """The pooling, whose biases and scales `prepare` draws."""
        assert isinstance(self.pooling, KernelPool)
        return self.pooling

    def forward(self, batch: Batch, local: bool = False) -> Encoded:
        """Encode one view; without `local` the responses of one dilation at a time are held."""
        if local:
            return super().forward(batch, local=True)
        values = masked(batch.values, batch.mask).float()
        size = max(1, _AT_ONCE // max(1, values.shape[-1]))
        pooled = [
            self._pooled(
                values[first : first + size],
                None if batch.mask is None else batch.mask[first : first + size],
            )
            for first in range(0, len(values), size)
        ]
        return Encoded(torch.cat(pooled), None, batch.mask, batch)

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return the responses (B, slots * 84, T), 84 kernels of each dilation together."""
        series = self._inputs(values.float(), mask)
        return torch.cat([self._respond(series, slot) for slot in range(len(self.channels))], 1)

    @torch.no_grad()
    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Take dilations, channels, biases and scales from unaugmented records."""
        steps = sample.values.shape[-1]
        lengths = sample.host_lengths or (steps,) * len(sample)
        top = math.log2(max(1.0, (sorted(lengths)[len(lengths) // 2] - 1) / (_TAPS - 1)))
        places = [place / max(1, self.per_input - 1) for place in range(self.per_input)]
        self.dilations.copy_(torch.tensor([int(2 ** (top * place) + 1e-9) for place in places]))
        self._on_host = None
        self.channels.copy_(random_channels(self.channels.shape, rng).to(self.channels.device))
        self._draw_biases(sample, rng)
        self.pool.centre.zero_()
        self.pool.scale.fill_(1.0)
        self.pool.standardise(self(sample).pooled)

    def _pooled(self, values: Tensor, mask: Tensor | None) -> Tensor:
        inputs = self._inputs(values, mask)
        slots = range(len(self.channels))
        raw = [self.pool.raw(self._respond(inputs, slot), mask, slot) for slot in slots]
        return self.pool.scaled(raw, mask)

    def _inputs(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        """Return the series and, where there are kernels for them, its differences."""
        if len(self.channels) == self.per_input:
            return (values,)
        steps = F.pad(values.diff(dim=-1), (1, 0))
        if mask is not None:
            steps = masked(steps, mask & F.pad(mask[:, :-1], (1, 0)))
        return values, steps

    def _respond(
        self, inputs: tuple[Tensor, ...], slot: int, kernels: slice = slice(None)
    ) -> Tensor:
        """Convolve (B, C, T) with the 84 kernels of one slot, or some of them: (B, 84, T)."""
        which, place = divmod(slot, self.per_input)
        values, dilation = inputs[which], self._host_dilations()[place]
        steps = values.shape[-1]
        weights, seen = self.kernels[kernels], self.channels[slot, kernels]  # (84, 9), (84, C)
        padded = F.pad(values, (4 * dilation, 4 * dilation))
        if values.shape[1] > _MOST_CHANNELS:
            return _convolve_each(seen @ padded, weights, dilation)
        taps = [padded[..., tap * dilation : tap * dilation + steps] for tap in range(_TAPS)]
        return (weights[:, None] * seen[..., None]).flatten(1) @ torch.stack(taps, 2).flatten(1, 2)

    def _host_dilations(self) -> tuple[int, ...]:
        if self._on_host is None:
            self._on_host = tuple(self.dilations.tolist())
        return self._on_host

    def _draw_biases(self, sample: Batch, rng: Rng) -> None:
        """Draw each bias as a quantile of the response of one random record to its kernel."""
        values = masked(sample.values, sample.mask).float()
        inputs = self._inputs(values, sample.mask)
        mask = torch.ones_like(values[:, 0], dtype=torch.bool)
        if sample.mask is not None and sample.mask.any():
            mask = sample.mask
        able = mask.any(1).nonzero().flatten().tolist()
        golden = (math.sqrt(5) - 1) / 2
        for slot in range(len(self.channels)):
            rows = rng.host.choice(able, KERNELS)
            for kernel, row in enumerate(rows.tolist()):
                one = tuple(series[row, None] for series in inputs)
                response = self._respond(one, slot, slice(kernel, kernel + 1))[0, 0, mask[row]]
                first = (slot * KERNELS + kernel) * self.biases
                levels = [(first + i + 1) * golden % 1 for i in range(self.biases)]
                quantiles = torch.quantile(response, response.new_tensor(levels))
                self.pool.levels[slot, kernel] = quantiles + _ABOVE


@cache
def rocket_kernels() -> Tensor:
    """Return the kernels (84, 9) of three 2s and six -1s, one tensor for all: not to be changed."""
    kernels = torch.full((KERNELS, _TAPS), -1.0)
    for row, chosen in enumerate(combinations(range(_TAPS), 3)):
        kernels[row, list(chosen)] = 2.0
    return kernels


def random_channels(shape: Sequence[int], rng: Rng) -> Tensor:
    """Choose 1 to 9 channels for every slot and kernel, few more often than many."""
    slots, kernels, channels = shape
    most = math.log2(min(channels, _MOST_CHANNELS) + 1)
    chosen = torch.zeros(slots, kernels, channels)
    for slot in range(slots):
        for kernel in range(kernels):
            count = max(1, int(2 ** rng.host.uniform(0, most)))
            chosen[slot, kernel, rng.host.permutation(channels)[:count]] = 1.0
    return chosen


def _convolve_each(rows: Tensor, kernels: Tensor, dilation: int) -> Tensor:
    """Convolve each of (..., K, T) with a kernel of its own (K, 9): (..., K, T - 8 * dilation)."""
    steps = rows.shape[-1] - (_TAPS - 1) * dilation
    response = rows.new_zeros(*rows.shape[:-1], steps)
    for tap in range(_TAPS):
        seen = rows[..., tap * dilation : tap * dilation + steps]
        response = response.addcmul_(seen, kernels[:, tap, None])
    return response


def _forget(rocket: Rocket, _keys: object) -> None:
    rocket._on_host = None
