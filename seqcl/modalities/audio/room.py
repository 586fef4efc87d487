"""Reverb: the record as it sounds in a room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.modalities.audio.bank import (
    bank_files,
    coloured_bank,
    response_bank,
    response_spectra,
    stretches,
)
from seqcl.modalities.audio.spectral import fast_length, power, rate_of, waves
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, check_range

__all__ = ["Reverb"]

Seconds = Annotated[float, Gt(0), Le(5)]
Decibels = Annotated[float, Ge(-20), Le(60)]

_DECAY = 6.9078
"""ln(1000): amplitudes fall by 60 dB in the reverberation time."""


@dataclass(frozen=True, kw_only=True)
class Reverb(ValueAugmentation):
    """Convolve with a room response: decaying noise, or a measured one of a folder.

    The response is 1 at once, then white noise that falls by 60 dB in the reverberation time
    (Polack's model, 1988). The power of the record stays. What rings on after its end is cut.
    """

    decay_s: tuple[Seconds, Seconds] = (0.1, 0.6)
    """Reverberation time in seconds, drawn uniformly."""
    direct_db: tuple[Decibels, Decibels] = (-3.0, 12.0)
    """Energy of the direct sound over that of the tail, in dB, drawn uniformly."""
    bank: str | None = None
    """Folder of measured responses instead, each taken from its peak on, for a second."""

    def __post_init__(self) -> None:
        check_range(self, "decay_s")
        check_range(self, "direct_db")

    def files(self) -> tuple[Path, ...]:
        """Return the responses of the bank."""
        return () if self.bank is None else bank_files(self.bank)

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `decay_s`, `direct_db` (B, 1) each, and `place` (B,): which noise or response."""
        return {
            "decay_s": rng.uniform(len(batch), *self.decay_s, 1),
            "direct_db": rng.uniform(len(batch), *self.direct_db, 1),
            "place": rng.uniform(len(batch), 0.0, 1.0),
        }

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Convolve by Fourier transform, in float32."""
        values = waves(batch)
        steps = values.shape[-1]
        response = self._spectra(batch, params, values.device)
        size = 2 * (response.shape[1] - 1)
        spectrum = torch.fft.rfft(values, n=size)
        spectrum *= response.unsqueeze(1)
        wet = torch.fft.irfft(spectrum, n=size)[..., :steps]
        ratio = power(values, batch) / power(wet, batch).clamp(min=1e-20)
        heard: Tensor = wet * ratio.sqrt()
        return heard.to(batch.values.dtype)

    def _spectra(self, batch: Batch, params: Params, device: torch.device) -> Tensor:
        """Return the transforms (B, n // 2 + 1) of responses, n even and enough for both."""
        steps, rate = batch.values.shape[-1], rate_of(batch)
        if self.bank is None:
            response = self._decaying(batch, params, device)
            alone: Tensor = torch.fft.rfft(response, n=_size(steps, response.shape[1]))
            return alone
        responses = response_bank(self.bank, round(rate), device)[:, :steps]
        size = _size(steps, responses.shape[1])
        chosen = (params["place"] * len(responses)).long()
        if len(responses) > len(batch):  # to transform all of them would be more work
            few: Tensor = torch.fft.rfft(responses[chosen], n=size)
            return few
        return response_spectra(self.bank, round(rate), steps, size, device)[chosen]

    def _decaying(self, batch: Batch, params: Params, device: torch.device) -> Tensor:
        """Return (B, K), each of about energy 1 at its beginning."""
        rate = rate_of(batch)
        length = min(batch.values.shape[-1], max(2, int(self.decay_s[1] * rate)))
        noise = stretches(coloured_bank(0.0, 0.0, device), params["place"], length)
        seconds = torch.arange(length, device=device) / rate
        tail = (-_DECAY / params["decay_s"] * seconds).exp_().mul_(noise)
        tail[:, 0] = 0.0
        norm = torch.linalg.vector_norm(tail, dim=1, keepdim=True).clamp(min=1e-10)
        tail *= 10 ** (-params["direct_db"] / 20) / norm
        tail[:, 0] = 1.0
        response: Tensor = tail
        return response


def _size(steps: int, response: int) -> int:
    """Return an even size of transform in which nothing wraps around."""
    return 2 * fast_length(-(-(steps + response - 1) // 2))
