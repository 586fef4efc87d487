"""What a browser can show and play of a recording: WAV, spectrograms, lines, pixels."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["is_sound", "picture", "wav"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_LOWEST_RATE_HZ = 3_000
_POINTS, _FRAMES, _BANDS, _FFT = 400, 240, 64, 512
_RANGE_DB = 70.0


def is_sound(rate_hz: float | None) -> bool:
    """Whether values of this rate can be listened to: 3 kHz or more."""
    return rate_hz is not None and rate_hz >= _LOWEST_RATE_HZ


def wav(values: Floats, rate_hz: float) -> bytes:
    """Return values (C, T) as mono 16-bit WAV; louder than 1 is scaled down, NaN is silence."""
    mono = np.nan_to_num(values.mean(axis=0))
    peak = max(1.0, float(np.abs(mono).max(initial=0)))
    samples: bytes = np.round(mono / peak * 32767).astype("<i2").tobytes()
    rate = round(rate_hz)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data


def picture(values: Floats, rate_hz: float | None) -> dict[str, Any]:
    """Return what to draw of a record: its kind, its size, and its values.

    ``lines``: a list of numbers (None = missing) for each channel; ``spectrogram`` and
    ``image``: bytes in base64, row by row, the top one first.
    """
    if values.ndim == 3:
        pixels = np.moveaxis(np.resize(values, (3, *values.shape[1:])), 0, -1)
        return _bytes("image", np.nan_to_num(pixels).clip(0, 1) * 255)
    if is_sound(rate_hz):
        assert rate_hz is not None
        return _bytes("spectrogram", _spectrogram(np.nan_to_num(values.mean(axis=0)), rate_hz))
    step = max(1, -(-values.shape[1] // _POINTS))
    kept = values[:, : values.shape[1] // step * step].reshape(len(values), -1, step)
    with np.errstate(invalid="ignore"):
        means = np.where(np.isnan(kept).all(axis=2), np.nan, np.nansum(kept, axis=2))
        means = means / np.maximum((~np.isnan(kept)).sum(axis=2), 1)
    lines = [[None if np.isnan(v) else round(float(v), 5) for v in row] for row in means]
    return {"kind": "lines", "channels": len(lines), "values": lines}


def _spectrogram(mono: Floats, rate_hz: float) -> Doubles:
    """Return (bands, frames) from 0 to 255: decibels below the loudest, high bands first."""
    padded = np.pad(mono.astype(np.float64), (0, max(0, _FFT - len(mono))))
    starts = np.linspace(0, len(padded) - _FFT, _FRAMES).astype(int)
    frames = np.stack([padded[s : s + _FFT] for s in starts]) * np.hanning(_FFT)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2  # (frames, bins)
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _BANDS + 1) / 2595) - 1) / rate_hz * _FFT
    low = np.minimum(edges[:-1].astype(int), power.shape[1] - 1)
    high = np.maximum(low + 1, edges[1:].astype(int))
    bands = np.stack([power[:, a:b].mean(axis=1) for a, b in zip(low, high, strict=True)])
    level = 10 * np.log10(bands + 1e-12)
    shown: Doubles = np.clip(1 + (level - level.max()) / _RANGE_DB, 0, 1)[::-1] * 255
    return shown


def _bytes(kind: str, values: npt.NDArray[np.floating]) -> dict[str, Any]:
    raw = values.round().astype(np.uint8)
    return {
        "kind": kind,
        "height": raw.shape[0],
        "width": raw.shape[1],
        "values": base64.b64encode(raw.tobytes()).decode(),
    }
