"""Excerpts at another sampling rate, the same wherever they are cut."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import numpy as np
import numpy.typing as npt

from seqcl.modalities.audio.decoding import require

__all__ = ["resampled_excerpt", "resampled_length"]

Floats = npt.NDArray[np.float32]

_MARGIN = 512
"""Samples, of the slower of both rates, that are read beyond each end of an excerpt: soxr's HQ
filter is shorter, so that an excerpt differs from the whole by less than 1e-5."""


def resampled_length(frames: int, source_hz: int, target_hz: int) -> int:
    """Return how many samples `frames` become."""
    return -(-frames * target_hz // source_hz)


def resampled_excerpt(
    read: Callable[[int, int], Floats],
    frames: int,
    source_hz: int,
    target_hz: int,
    start: int,
    stop: int,
) -> Floats:
    """Return samples `start` to `stop` of the recording at `target_hz`, (C, stop - start).

    By soxr, quality HQ. An excerpt is read from a place that both rates have a sample at, so that
    its samples are those of the whole.

    Args:
        read: gives frames from one number to another at `source_hz`, (C, n).
        frames: of the whole recording at `source_hz`.
        source_hz, target_hz: samples a second.
        start, stop: in samples at `target_hz`.
    """
    if source_hz == target_hz or start == stop:
        return read(start, stop) if source_hz == target_hz else read(0, 0)
    divisor = gcd(source_hz, target_hz)
    up, down = target_hz // divisor, source_hz // divisor
    margin = _MARGIN * max(1, -(-down // up))
    first = max(0, (start * down // up - margin) // down)
    last = min(frames, -(-stop * down // up) + margin)
    samples = read(first * down, last)
    soxr = require("soxr")
    made = soxr.resample(np.ascontiguousarray(samples.T), source_hz, target_hz, "HQ").T
    made = made[:, start - first * up : stop - first * up]
    lack = stop - start - made.shape[1]  # soxr rounds the length of the whole, down by one at most
    return np.ascontiguousarray(np.pad(made, ((0, 0), (0, max(0, lack)))), dtype=np.float32)
