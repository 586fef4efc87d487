"""Front ends that turn waveforms into spectrograms: log-mel, MFCC, PCEN.

A spectrogram is a series of ceil(T / hop) frames whose channels are its bands, from low to high:
(B, C, T) becomes (B, C * bands, T'). So every encoder of series takes it, masks included; an
encoder of pictures views it as (B, 1, bands, T').
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.encoders.base import stride_mask
from seqcl.errors import DataError
from seqcl.modalities.audio.spectrogram import (
    cosine_basis,
    filter_spans,
    mel_filters,
    power_mel,
)
from seqcl.rng import Rng
from seqcl.views.base import Frontend, real_steps, zero_masked

__all__ = ["LogMel", "Mfcc", "Normalise", "Pcen", "Spectrogram"]

_LEAST = 0.5
"""Least deviation of a band as a share of the mean one: bands above a recording's cut-off hold
rounding alone, which must not be blown up to the size of sound."""

_PRIOR = 50
"""Frames for which the training data's statistics count beside those of a group. A spoken digit has
about 40."""

Normalise = Literal["band", "all", "record", "group", "none"]


class Spectrogram(Frontend):
    """A mel spectrogram, compressed by a subclass and brought to mean 0 and deviation 1.

    Args:
        in_channels: C of the waveforms; the bands of one channel come after those of another.
        features: bands or coefficients that a subclass gives for each channel.
        rate_hz, bands, window, hop, low_hz, high_hz, normalise: see `LogMel`.

    Attributes:
        mean, std: (F, 1) buffers; 0 and 1 until `prepare`.
    """

    pictured: ClassVar[bool] = True

    mean: Tensor
    std: Tensor
    taper: Tensor
    filters: Tensor

    def __init__(
        self,
        in_channels: int,
        features: int,
        *,
        rate_hz: int,
        bands: int,
        window: int,
        hop: int,
        low_hz: float,
        high_hz: float | None,
        normalise: Normalise,
    ) -> None:
        super().__init__(in_channels)
        high = rate_hz / 2 if high_hz is None else high_hz
        if not low_hz < high <= rate_hz / 2:
            raise ValueError(
                f"{type(self).__name__}: bands from {low_hz:g} to {high:g} Hz; needed: a rising "
                f"range up to {rate_hz / 2:g} Hz, half of rate_hz"
            )
        self.out_channels = in_channels * features
        self.rate_hz, self.hop, self.normalise = rate_hz, hop, normalise
        self.by_group = normalise == "group"
        taper = torch.hann_window(window)
        filters = mel_filters(rate_hz, window, bands, low_hz, high)
        self.register_buffer("taper", taper, persistent=False)
        self.register_buffer("filters", filters, persistent=False)
        self.spans = filter_spans(filters)
        self.register_buffer("mean", torch.zeros(self.out_channels, 1))
        self.register_buffer("std", torch.ones(self.out_channels, 1))

    @abstractmethod
    def compress(self, power: Tensor) -> Tensor:
        """Return features (N, features, T') of the power in each band (N, bands, T')."""

    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Take mean and deviation over the real frames of the sample."""
        batch = self._raw(sample)
        mask = torch.ones_like(batch.values[:, 0]) if batch.mask is None else batch.mask
        weight = mask.double().unsqueeze(1)  # (B, 1, T')
        values = batch.values.double()
        if self.normalise == "record":
            values = values - _mean(values, weight, (2,))
        axes: Sequence[int] = (0, 1, 2) if self.normalise == "all" else (0, 2)
        mean = _mean(values, weight.expand_as(values), axes)
        variance = _mean((values - mean).square(), weight.expand_as(values), axes)
        if self.normalise != "none":
            self.mean.copy_(mean[0].expand_as(self.mean))
            std = variance.sqrt()[0]
            std = std.clamp(min=_LEAST * float(std.mean()))
            self.std.copy_(torch.where(std > 1e-6, std, 1.0).expand_as(self.std))

    def forward(self, batch: Batch) -> Batch:
        """Return the spectrogram (B, F, ceil(T / hop)), 0 in masked frames.

        A frame is real where any sample between its centre and the next one's is. Raises
        DataError where the batch's rate is known and another.
        """
        raw = self._raw(batch)
        values = raw.values
        if self.normalise == "record":
            mask = torch.ones_like(values[:, 0]) if raw.mask is None else raw.mask
            values = values - _mean(values, mask.to(values).unsqueeze(1), (2,))
        mean, std = self.mean, self.std
        if self.by_group:
            norms = self._norms(*self._sums(raw))
            if batch.norms is not None:
                norms = torch.where(batch.norms.isnan(), norms, batch.norms)
            mean, std = norms.unsqueeze(3).unbind(1)  # (B, F, 1) each
        values = (values - mean) / std
        return raw.with_values(zero_masked(values, raw.mask).to(batch.values.dtype))

    def group_norms(self, batches: Iterable[Batch], groups: int) -> Tensor:
        """Return (groups, 2, F): mean and deviation of each band over a group's real frames."""
        frames = torch.zeros(groups, 1, dtype=torch.float64)  # on the host, in one order
        total = frames.repeat(1, self.out_channels)
        squares = torch.zeros_like(total)
        for batch in batches:
            assert batch.groups is not None
            for sums, part in zip(
                (frames, total, squares), self._sums(self._raw(batch)), strict=True
            ):
                sums.index_add_(0, batch.groups.cpu(), part.cpu())
        return self._norms(*(sums.to(self.mean.device) for sums in (frames, total, squares)))

    def _sums(self, raw: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return each record's real frames (B, 1), and sums and squares of its bands (B, F).

        Of the bands less the training data's mean, in float64.
        """
        mask = torch.ones_like(raw.values[:, :1]) if raw.mask is None else raw.mask.unsqueeze(1)
        values = ((raw.values - self.mean) * mask).double()
        return mask.double().sum(2), values.sum(2), values.square().sum(2)

    def _norms(self, frames: Tensor, total: Tensor, squares: Tensor) -> Tensor:
        """Return mean and deviation (N, 2, F) as if some of the training data's frames were there.

        So a group of few frames far from them has a large deviation, and does not look as sure of
        its own mean as one of many.
        """
        usual, std = self.mean.squeeze(1), self.std.squeeze(1)
        frames = frames + _PRIOR
        shift = total / frames
        variance = (squares + _PRIOR * std.square()) / frames - shift.square()
        std = variance.clamp(min=0).sqrt()
        std = torch.maximum(std, _LEAST * std.mean(1, keepdim=True))
        return torch.stack([usual + shift, std], dim=1).float()

    def picture(self, values: Tensor) -> Tensor:
        """Return pictures (B, C, bands, T') in [0, 1], low bands below."""
        low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
        shown = (values - low) / (high - low).clamp(min=1e-6)
        rows, _, frames = shown.shape
        return shown.reshape(rows, -1, self._features, frames).flip(2)

    @property
    def _features(self) -> int:
        return self.filters.shape[0]

    def _raw(self, batch: Batch) -> Batch:
        """Return the features, not yet normalised, with masks and places in frames."""
        if batch.rate_hz not in (None, self.rate_hz):
            raise DataError(
                f"the audio has {batch.rate_hz:g} Hz and the front end is for {self.rate_hz}; set "
                f"data.rate_hz={self.rate_hz} to resample it, or "
                f"frontend.rate_hz={batch.rate_hz:g}"
            )
        if batch.indicators:
            raise DataError(
                "a spectrogram has no channels that say where values were missing; set "
                "data.missing=zero"
            )
        rows, channels, steps = batch.values.shape
        mask = real_steps(batch)
        waves = zero_masked(batch.values, mask).float().reshape(rows * channels, steps)
        power = power_mel(waves, self.taper, self.filters, self.spans, self.hop)
        values = self.compress(power).reshape(rows, self.out_channels, -1)
        return self._in_frames(batch, values, stride_mask(mask, self.hop))

    def _in_frames(self, batch: Batch, values: Tensor, mask: Tensor | None) -> Batch:
        hop, half = self.hop, self.hop // 2
        host = batch.host_lengths
        return replace(
            batch,
            values=values,
            mask=mask,
            lengths=None if batch.lengths is None else -(-batch.lengths // hop),
            host_lengths=None if host is None else tuple(-(-length // hop) for length in host),
            start=None if batch.start is None else (batch.start + half) // hop,
            offset=None if batch.offset is None else (batch.offset + half) // hop,
            rate_hz=self.rate_hz / hop,
            tokens=None,
        )


class LogMel(Spectrogram):
    """The logarithm of the power in each mel band.

    ``ln(power + floor)``; the power is librosa's melspectrogram to 1e-6 of its largest value, with
    Slaney's scale and norm.

    Args:
        in_channels: C of the waveforms.
        rate_hz: samples a second, which must be that of the data.
        bands: mel bands.
        window: samples of a frame (a periodic Hann window).
        hop: samples from one frame to the next; T samples give ceil(T / hop) frames.
        low_hz, high_hz: ends of the bands; None = half the rate.
        normalise: `band`: by the mean and deviation of each band in the training data; `all`: by
            one of each for all bands; `record`: less each record's own mean in each band, by the
            deviation that this leaves in the training data; `group`: by those of each band in the
            record's group (speaker, microphone, room) among the records at hand, a record without
            one being a group of its own, drawn towards the training data's by 50 frames; `none`.
        floor: what is added to the power; 1e-6 lies 54 dB below white noise of deviation 0.1.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        rate_hz: Annotated[int, Gt(0)] = 16_000,
        bands: Annotated[int, Ge(1), Le(1024)] = 64,
        window: Annotated[int, Ge(16)] = 1_024,
        hop: Annotated[int, Ge(1)] = 160,
        low_hz: Annotated[float, Ge(0)] = 0.0,
        high_hz: Annotated[float, Gt(0)] | None = None,
        normalise: Normalise = "band",
        floor: Annotated[float, Gt(0)] = 1e-6,
    ) -> None:
        super().__init__(
            in_channels, bands, rate_hz=rate_hz, bands=bands, window=window, hop=hop,
            low_hz=low_hz, high_hz=high_hz, normalise=normalise,
        )  # fmt: skip
        self.floor = floor

    def compress(self, power: Tensor) -> Tensor:
        """Return the logarithms."""
        return (power + self.floor).log()


class Mfcc(Spectrogram):
    """Cepstral coefficients: the cosine transform of log-mel over its bands.

    Davis and Mermelstein 1980; the orthonormal DCT-II of ``ln(power + floor)``, which is librosa's
    of its decibels but for the factor ``10 / ln 10`` and its limit of 80 dB below the peak.

    Args:
        in_channels: C of the waveforms.
        coefficients: how many, the first being the level.
        rate_hz, bands, window, hop, low_hz, high_hz, normalise, floor: as in `log_mel`.
    """

    basis: Tensor

    def __init__(
        self,
        in_channels: int,
        *,
        coefficients: Annotated[int, Ge(1)] = 20,
        rate_hz: Annotated[int, Gt(0)] = 16_000,
        bands: Annotated[int, Ge(1), Le(1024)] = 64,
        window: Annotated[int, Ge(16)] = 1_024,
        hop: Annotated[int, Ge(1)] = 160,
        low_hz: Annotated[float, Ge(0)] = 0.0,
        high_hz: Annotated[float, Gt(0)] | None = None,
        normalise: Normalise = "band",
        floor: Annotated[float, Gt(0)] = 1e-6,
    ) -> None:
        if coefficients > bands:
            raise ValueError(f"Mfcc: {coefficients} coefficients of {bands} bands; at most as many")
        super().__init__(
            in_channels, coefficients, rate_hz=rate_hz, bands=bands, window=window, hop=hop,
            low_hz=low_hz, high_hz=high_hz, normalise=normalise,
        )  # fmt: skip
        self.floor = floor
        self.register_buffer("basis", cosine_basis(bands, coefficients), persistent=False)

    @property
    def _features(self) -> int:
        return len(self.basis)

    def compress(self, power: Tensor) -> Tensor:
        """Return the coefficients of each frame."""
        return self.basis @ (power + self.floor).log()


class Pcen(Spectrogram):
    """Per-channel energy normalisation (Wang et al. 2017, arXiv 1607.05666, equation 1).

    ``(E / (eps + M) ** gain + bias) ** power - bias ** power``, where M follows the energy E of a
    band as a first-order filter. It starts at the first frame's energy, and knows no later frame.

    Args:
        in_channels: C of the waveforms.
        gain: how far the level is taken out; 1 = wholly.
        bias, power: of the compression.
        smoothing_s: time constant of M in seconds.
        eps: keeps silence silent.
        rate_hz, bands, window, hop, low_hz, high_hz, normalise: as in `log_mel`.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        gain: Annotated[float, Ge(0), Le(1)] = 0.98,
        bias: Annotated[float, Gt(0)] = 2.0,
        power: Annotated[float, Gt(0), Le(1)] = 0.5,
        smoothing_s: Annotated[float, Gt(0)] = 0.4,
        eps: Annotated[float, Gt(0)] = 1e-6,
        rate_hz: Annotated[int, Gt(0)] = 16_000,
        bands: Annotated[int, Ge(1), Le(1024)] = 64,
        window: Annotated[int, Ge(16)] = 1_024,
        hop: Annotated[int, Ge(1)] = 160,
        low_hz: Annotated[float, Ge(0)] = 0.0,
        high_hz: Annotated[float, Gt(0)] | None = None,
        normalise: Normalise = "band",
    ) -> None:
        super().__init__(
            in_channels, bands, rate_hz=rate_hz, bands=bands, window=window, hop=hop,
            low_hz=low_hz, high_hz=high_hz, normalise=normalise,
        )  # fmt: skip
        self.gain, self.bias, self.power, self.eps = gain, bias, power, eps
        frames = smoothing_s * rate_hz / hop
        self.smoothing = ((1 + 4 * frames**2) ** 0.5 - 1) / (2 * frames**2)

    def compress(self, power: Tensor) -> Tensor:
        """Return the normalised energies; a loop over frames, of (N, bands) each."""
        level = power[..., 0]
        levels = []
        for energy in power.unbind(-1):
            level = level.lerp(energy, self.smoothing)
            levels.append(level)
        smooth = (self.eps + torch.stack(levels, -1)) ** self.gain
        compressed: Tensor = (power / smooth + self.bias) ** self.power - self.bias**self.power
        return compressed


def _mean(values: Tensor, weight: Tensor, axes: Sequence[int]) -> Tensor:
    """Average over `axes` with weights that broadcast; 0 where they are all 0."""
    total = (values * weight).sum(tuple(axes), keepdim=True)
    return total / weight.sum(tuple(axes), keepdim=True).clamp(min=1)
