"""Speeds: queries that are played faster or slower than what they were taken from."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["speeds_within", "stretched"]

Floats = npt.NDArray[np.float32]

_STEP = 0.01
"""Largest distance between two speeds that are tried: half of it on either side is little to an
embedding, a pitch error of an eighth of a semitone."""


def speeds_within(most: float) -> tuple[float, ...]:
    """Return the speeds, 1 first, from ``1 - most`` to ``1 + most``, evenly spaced."""
    count = math.ceil(most / _STEP - 1e-9)
    places = sorted(range(-count, count + 1), key=abs)
    return tuple(1 + most * place / max(count, 1) for place in places)


def stretched(values: Floats, speed: float) -> Floats:
    """Return what is played at `speed`, (C, T), at speed 1: (C, round(T * speed)).

    By linear interpolation; a gap (NaN) reaches to the steps beside it.
    """
    steps = values.shape[-1]
    places = np.arange(round(steps * speed)) / speed
    known = np.arange(steps)
    rows = [np.interp(places, known, row) for row in values]
    return np.stack(rows).astype(np.float32)
