"""Power spectrograms on a mel scale, in batches.

Equal to `librosa.feature.melspectrogram` with its defaults (Slaney's scale and norm, a periodic
Hann window, frames centred and zero beyond the ends), but for the number of frames: here frame i
is centred on sample ``i * hop`` for every one below T, ceil(T / hop) in all, so that padding at
the end adds frames and changes none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Spans", "cosine_basis", "filter_spans", "mel_filters", "mel_to_hz", "power_mel"]

Spans = tuple[tuple[slice, slice], ...]
"""Neighbouring bands, and the bins that they weigh."""

_BREAK_HZ, _BREAK_MEL = 1_000.0, 15.0
"""Slaney's scale (Auditory Toolbox, 1998) is linear up to here: 3 mels in 200 Hz."""
_LOG_STEP = math.log(6.4) / 27
"""27 mels above it are a factor of 6.4."""
_AT_ONCE = 1 << 16
"""Samples that are transformed at once: their spectra stay in a core's cache (1.2 times as fast
as 64 seconds together)."""
_TOGETHER = 16
"""Bands that are weighed together: triangles are narrow, so that all of them over all bins are 2.5
times the work of these."""


def mel_to_hz(mel: Tensor) -> Tensor:
    """Return the frequency of each mel."""
    low = mel * (_BREAK_HZ / _BREAK_MEL)
    high = _BREAK_HZ * ((mel - _BREAK_MEL) * _LOG_STEP).exp()
    return torch.where(mel < _BREAK_MEL, low, high)


def mel_filters(
    rate_hz: float, transform: int, bands: int, low_hz: float, high_hz: float
) -> Tensor:
    """Return triangles (bands, transform // 2 + 1) over the bins of a power spectrum.

    Each has the area of 1 Hz; their peaks stand at equal distances in mel between both ends.
    """
    ends = [_hz_to_mel(low_hz), _hz_to_mel(high_hz)]
    corners = mel_to_hz(torch.linspace(ends[0], ends[1], bands + 2, dtype=torch.float64))
    bins = torch.linspace(0, rate_hz / 2, transform // 2 + 1, dtype=torch.float64)
    width = corners.diff()
    slopes = corners[:, None] - bins  # (bands + 2, bins)
    rise, fall = -slopes[:-2] / width[:-1, None], slopes[2:] / width[1:, None]
    area = 2 / (corners[2:] - corners[:-2])
    return (torch.minimum(rise, fall).clamp(min=0) * area[:, None]).float()


def filter_spans(filters: Tensor) -> Spans:
    """Return runs of bands of `filters` (bands, bins), with the bins where any of them is not 0."""
    spans = []
    for first in range(0, len(filters), _TOGETHER):
        bands = slice(first, min(first + _TOGETHER, len(filters)))
        weighed = filters[bands].any(0).nonzero().flatten().tolist() or [0]
        spans.append((bands, slice(weighed[0], weighed[-1] + 1)))
    return tuple(spans)


def power_mel(values: Tensor, window: Tensor, filters: Tensor, spans: Spans, hop: int) -> Tensor:
    """Return the power in each band and frame: (N, T) to (N, bands, ceil(T / hop)).

    Args:
        values: (N, T) float32, 0 beyond the end of a record.
        window: (n,), the size of the transform.
        filters: (bands, n // 2 + 1).
        spans: where they are not 0, see `filter_spans`.
        hop: samples from one frame to the next.
    """
    steps, size = values.shape[-1], len(window)
    frames = -(-steps // hop)
    after = (frames - 1) * hop + size - size // 2 - steps
    # A traced split would hold for batches of the traced size alone.
    whole = torch.compiler.is_exporting()
    parts = []
    for part in [values] if whole else torch.split(values, max(1, _AT_ONCE // steps)):
        padded = F.pad(part, (size // 2, max(0, after)))
        spectrum = torch.stft(padded, size, hop, window=window, center=False, return_complex=True)
        squares = torch.view_as_real(spectrum).square_()  # a fourth of the time of a copy
        power = (squares[..., 0] + squares[..., 1])[..., :frames]
        parts.append(torch.cat([filters[some, bins] @ power[:, bins] for some, bins in spans], 1))
    return parts[0] if whole else torch.cat(parts)


def cosine_basis(bands: int, count: int) -> Tensor:
    """Return the first `count` rows of the orthonormal DCT-II over bands, (count, bands)."""
    place = torch.arange(bands, dtype=torch.float64) + 0.5
    order = torch.arange(count, dtype=torch.float64)[:, None]
    basis = (math.pi / bands * place * order).cos() * math.sqrt(2 / bands)
    basis[0] *= math.sqrt(0.5)
    return basis.float()


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz * _BREAK_MEL / _BREAK_HZ
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP
