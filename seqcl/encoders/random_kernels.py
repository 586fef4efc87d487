"""What encoders of random dilated kernels share: dilations, channels, and responses in parts."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from seqcl.batch import Batch, Encoded
from seqcl.encoders.base import Encoder, masked
from seqcl.encoders.pooling import Pooling
from seqcl.rng import Rng

__all__ = ["TAPS", "Inputs", "KernelEncoder", "PoolResponses", "random_channels"]

TAPS = 9
_MOST_CHANNELS = 9
"""That a kernel sees. Where there are more, adding those up first is faster than a product."""
_AT_ONCE = 344_064
"""Responses that one call makes: they stay in a core's cache."""

Inputs = tuple[Tensor, ...]


class PoolResponses(Pooling):
    """Pools the responses of one slot of kernels (a dilation and input) at a time.

    Attributes:
        centre, scale: (out_dim,), what `standardise` found; 0 and 1 before.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, slots: int, kernels: int, per_slot: int) -> None:
        super().__init__(slots * kernels, slots * per_slot)
        self.slots = slots
        self.register_buffer("centre", torch.zeros(self.out_dim))
        self.register_buffer("scale", torch.ones(self.out_dim))

    @abstractmethod
    def raw(self, responses: Tensor, mask: Tensor | None, slot: int) -> Tensor:
        """Return the raw features of one slot's responses (B, K, T'), which may be overwritten."""

    @abstractmethod
    def scales(self, variance: Tensor) -> Tensor:
        """Return the factors (out_dim,) of features that have this variance (out_dim,)."""

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Pool responses (B, slots * K, T') to (B, out_dim)."""
        parts = features.float().chunk(self.slots, 1)
        raw = [self.raw(part.clone(), mask, slot) for slot, part in enumerate(parts)]
        return self.scaled(raw, mask)

    def scaled(self, slots: list[Tensor], mask: Tensor | None) -> Tensor:
        """Join raw features of all slots and bring them to the scale of the sample."""
        pooled = (torch.cat(slots, 1) - self.centre) * self.scale
        return pooled if mask is None else pooled.masked_fill(~mask.any(1, keepdim=True), 0.0)

    def standardise(self, pooled: Tensor) -> None:
        """Take centre and scale from the raw features (n, out_dim) of a sample."""
        self.centre.copy_(pooled.mean(0))
        self.scale.copy_(self.scales(pooled.var(0, correction=0)))


class KernelEncoder(Encoder):
    """Convolves with kernels that are not learnt, at several dilations, and pools the responses.

    A slot is the kernels of one dilation over one input: the series, or its differences. Nothing
    is learnt by gradient: `prepare` takes dilations from the records' length, and centre and
    scale of the features from a sample.

    Attributes:
        channels: (slots, G, C), 1 where a kernel, or a group of them, sees a channel.
        dilations: (D,), by powers from 1 to an eighth of the median record.
    """

    trainable = False
    autocast = False
    exportable = False

    channels: Tensor
    dilations: Tensor

    def __init__(self, in_channels: int, dilations: int, groups: int, pool: PoolResponses) -> None:
        super().__init__(in_channels, pool.in_dim, pool)
        self.per_input = dilations
        self.register_buffer("channels", torch.ones(pool.slots, groups, in_channels))
        self.register_buffer("dilations", torch.ones(dilations, dtype=torch.int64))
        self._on_host: tuple[int, ...] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    @abstractmethod
    def weights(self, slot: int) -> Tensor:
        """Return the kernels of a slot, (G, 9) or (K, G, 9): K of a group see the same channels."""

    @abstractmethod
    def draw(self, sample: Batch, rng: Rng) -> None:
        """Draw from data what is random besides the channels."""

    @property
    def _pool(self) -> PoolResponses:
        assert isinstance(self.pooling, PoolResponses)
        return self.pooling

    def forward(self, batch: Batch, local: bool = False) -> Encoded:
        """Encode one view; without `local` the responses of one dilation at a time are held."""
        if local:
            return super().forward(batch, local=True)
        values = masked(batch.values, batch.mask).float()
        responses = values.shape[-1] * self.local_dim // self._pool.slots
        size = max(1, _AT_ONCE // max(1, responses))
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
        """Return the responses (B, local_dim, T), those of a slot together."""
        inputs = self.inputs(values.float(), mask)
        return torch.cat([self.respond(inputs, slot) for slot in range(self._pool.slots)], 1)

    @torch.no_grad()
    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Take dilations, channels, kernels and scales from unaugmented records."""
        steps = sample.values.shape[-1]
        lengths = sample.host_lengths or (steps,) * len(sample)
        top = math.log2(max(1.0, (sorted(lengths)[len(lengths) // 2] - 1) / (TAPS - 1)))
        places = [place / max(1, self.per_input - 1) for place in range(self.per_input)]
        self.dilations.copy_(torch.tensor([int(2 ** (top * place) + 1e-9) for place in places]))
        self._on_host = None
        self.channels.copy_(random_channels(self.channels.shape, rng).to(self.channels.device))
        self.draw(sample, rng)
        self._pool.centre.zero_()
        self._pool.scale.fill_(1.0)
        self._pool.standardise(self(sample).pooled)

    def inputs(self, values: Tensor, mask: Tensor | None) -> Inputs:
        """Return the series and, where there are kernels for them, its differences."""
        if self._pool.slots == self.per_input:
            return (values,)
        steps = F.pad(values.diff(dim=-1), (1, 0))
        if mask is not None:
            steps = masked(steps, mask & F.pad(mask[:, :-1], (1, 0)))
        return values, steps

    def respond(self, inputs: Inputs, slot: int, of: slice = slice(None)) -> Tensor:
        """Convolve with the kernels of one slot, or of some groups: (B, kernels, T)."""
        which, place = divmod(slot, self.per_input)
        weights, seen = self.weights(slot)[..., of, :], self.channels[slot, of]
        values, dilation = inputs[which], self._host_dilations()[place]
        steps = values.shape[-1]
        padded = F.pad(values, (4 * dilation, 4 * dilation))
        if values.shape[1] > _MOST_CHANNELS:
            return _convolve_each(seen @ padded, weights, dilation)
        taps = [padded[..., tap * dilation : tap * dilation + steps] for tap in range(TAPS)]
        table = (weights[..., None, :] * seen[..., None]).flatten(-2)  # (..., G, C * 9)
        return table.flatten(0, -2) @ torch.stack(taps, 2).flatten(1, 2)

    def _pooled(self, values: Tensor, mask: Tensor | None) -> Tensor:
        inputs = self.inputs(values, mask)
        slots = range(self._pool.slots)
        raw = [self._pool.raw(self.respond(inputs, slot), mask, slot) for slot in slots]
        return self._pool.scaled(raw, mask)

    def _host_dilations(self) -> tuple[int, ...]:
        if self._on_host is None:
            self._on_host = tuple(self.dilations.tolist())
        return self._on_host


def random_channels(shape: Sequence[int], rng: Rng) -> Tensor:
    """Choose 1 to 9 channels for every slot and kernel or group, few more often than many."""
    slots, groups, channels = shape
    most = math.log2(min(channels, _MOST_CHANNELS) + 1)
    chosen = torch.zeros(slots, groups, channels)
    for slot in range(slots):
        for group in range(groups):
            count = max(1, int(2 ** rng.host.uniform(0, most)))
            chosen[slot, group, rng.host.permutation(channels)[:count]] = 1.0
    return chosen


def _convolve_each(rows: Tensor, weights: Tensor, dilation: int) -> Tensor:
    """Convolve (B, G, T) with kernels (G, 9) or (K, G, 9): (B, kernels, T - 8 * dilation)."""
    steps = rows.shape[-1] - (TAPS - 1) * dilation
    if weights.dim() == 3:
        rows = rows[:, None]
    response = rows.new_zeros(len(rows), *weights.shape[:-1], steps)
    for tap in range(TAPS):
        seen = rows[..., tap * dilation : tap * dilation + steps]
        response = response.addcmul_(seen, weights[..., tap, None])
    return response.flatten(1, -2)


def _forget(encoder: KernelEncoder, _keys: object) -> None:
    encoder._on_host = None
