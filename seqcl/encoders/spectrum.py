"""The amplitude spectrum of each record over its own length, whatever the padding."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from seqcl.batch import Batch

__all__ = ["spectrum"]


def spectrum(batch: Batch) -> Batch:
    """Return amplitudes (B, C, F) in place of values (B, C, T), F = T // 2 + 1.

    Bin m of a record of L steps is ``|sum_t x_t exp(-2 pi i t m / L)| / sqrt(L)``, up to half the
    rate, in float32: white noise of unit variance has about 1 in every bin. Masked steps count as
    0, and L is up to the last real one; bins beyond a record's L // 2 are masked. A record without
    a real step has no real bin.

    Records of one length take one FFT. Unequal ones take the chirp form (Bluestein 1970), which
    has a length of its own for every record and nothing that waits for the device.
    """
    values = batch.values.float()
    if batch.mask is None:
        amplitudes = torch.fft.rfft(values).abs() / math.sqrt(values.shape[-1])
        return replace(batch, values=amplitudes, lengths=None, host_lengths=None, tokens=None)
    values = torch.where(batch.mask.unsqueeze(1), values, 0.0)
    places = torch.arange(1, values.shape[-1] + 1, device=values.device)
    length = torch.where(batch.mask, places, 0).amax(1)  # (B,)
    bins = places[: values.shape[-1] // 2 + 1] - 1
    mask = (bins <= (length // 2).unsqueeze(1)) & (length > 0).unsqueeze(1)
    safe = length.clamp(min=1)
    amplitudes = _chirp(values, safe) / safe.sqrt().view(-1, 1, 1)
    return replace(
        batch,
        values=torch.where(mask.unsqueeze(1), amplitudes, 0.0),
        mask=mask,
        lengths=None,
        host_lengths=None,
        tokens=None,
    )


def _chirp(values: Tensor, length: Tensor) -> Tensor:
    """Return |DFT| of each record (B, C, T) at bins m / length, m = 0 to T // 2.

    ``2 t m = t^2 + m^2 - (m - t)^2`` makes the transform a convolution.
    """
    steps = values.shape[-1]
    at = torch.arange(steps, device=values.device)
    # The square is reduced before it is a float, which would lose its last digits.
    angle = at.square().remainder(2 * length.unsqueeze(1)) * (math.pi / length.unsqueeze(1))
    chirp = torch.polar(torch.ones_like(angle), angle)  # (B, T)
    size = 2 ** (2 * steps - 1).bit_length()
    kernel = torch.zeros((len(chirp), size), dtype=chirp.dtype, device=chirp.device)
    kernel[:, :steps] = chirp
    kernel[:, size - steps + 1 :] = chirp[:, 1:].flip(1)
    product = torch.fft.fft(values * chirp.conj().unsqueeze(1), n=size)
    convolved = torch.fft.ifft(product * torch.fft.fft(kernel).unsqueeze(1))
    amplitudes: Tensor = convolved[..., : steps // 2 + 1].abs()
    return amplitudes
