"""Two encoders, one of the series and one of its spectrum, as in TF-C (2206.08496)."""

from __future__ import annotations

import torch
from torch import Tensor

from seqcl.batch import Batch, Encoded
from seqcl.encoders.base import Encoder
from seqcl.encoders.pooling import WholeRecords
from seqcl.encoders.spectrum import spectrum
from seqcl.registry import Spec
from seqcl.rng import Rng

__all__ = ["TimeFrequency"]


class TimeFrequency(Encoder):
    """Encode a series and its amplitude spectrum; `pooled` is both, the time features first.

    Local features are the time encoder's. A spectrum belongs to a whole record, so there is no
    embedding of single steps (UsageError).

    Args:
        in_channels: C of the series.
        time: encoder of the series (B, C, T).
        frequency: encoder of its amplitudes (B, C, T // 2 + 1), see `spectrum`.
    """

    embeds_steps = False

    def __init__(
        self,
        in_channels: int,
        *,
        time: Spec[Encoder] = Spec("encoders", "conv1d"),
        frequency: Spec[Encoder] = Spec("encoders", "conv1d"),
    ) -> None:
        series, spectral = time.build(in_channels), frequency.build(in_channels)
        both = WholeRecords(
            series.local_dim, series.out_dim + spectral.out_dim,
            "encoder time_frequency embeds whole records: a step has no spectrum",
        )  # fmt: skip
        super().__init__(in_channels, series.local_dim, both, series.stride)
        self.time, self.frequency = series, spectral

    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Let both encoders take what they need from data."""
        self.time.prepare(sample, rng.fork(0))
        self.frequency.prepare(spectrum(sample), rng.fork(1))

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        """Return the time encoder's (B, local_dim, T')."""
        return self.time.features(values, mask, lengths)

    def forward(self, batch: Batch, local: bool = False) -> Encoded:
        """Encode one view in both domains."""
        series, spectral = self.time(batch, local=local), self.frequency(spectrum(batch))
        pooled = torch.cat((series.pooled, spectral.pooled), dim=1)
        return Encoded(pooled, series.local, series.mask, batch)
