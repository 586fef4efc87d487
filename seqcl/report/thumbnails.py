"""A series or an image as a few characters: what the map shows of a record on hover."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Picture", "Thumbnail", "picture", "thumbnail"]

Thumbnail = tuple[str, float | None, float | None]
"""Levels of one channel, and the values of its lowest and highest level."""

Picture = tuple[int, int, str]
"""Height, width, and the levels of one or three channels, one channel after another."""

_STEPS = 64
_SIDE = 16
_CHANNELS = 3
_LEVELS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
_MISSING = "."


def thumbnail(values: npt.NDArray[Any]) -> list[Thumbnail]:
    """Shorten (C, T) values to at most 3 channels of 64 means, one character each.

    A character is a level from lowest (``A``) to highest (``_``) in the order of the base64url
    alphabet, ``.`` where all steps of a stretch are missing.
    """
    return [_coded(_means(np.asarray(row, dtype=np.float64))) for row in values[:_CHANNELS]]


def picture(values: npt.NDArray[Any]) -> Picture:
    """Shrink an image (C, H, W) in [0, 1] to at most 16 pixels a side, a character each.

    Three channels where it has them, else its first; ``A`` is 0 and ``_`` is 1.
    """
    shown = np.asarray(values[: 3 if len(values) >= 3 else 1], dtype=np.float64)
    for axis in (1, 2):
        length = shown.shape[axis]
        count = min(_SIDE, length)
        starts = np.arange(count) * length // count
        sizes = np.diff(np.append(starts, length))
        shown = np.add.reduceat(shown, starts, axis=axis) / np.expand_dims(sizes, 2 - axis)
    levels = np.rint(np.nan_to_num(shown).clip(0, 1) * (len(_LEVELS) - 1)).astype(np.int64)
    return shown.shape[1], shown.shape[2], "".join(_LEVELS[levels.ravel()])


def _means(row: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average the observed steps of 64 equal stretches; NaN where there are none."""
    known = np.isfinite(row)
    if len(row) <= _STEPS:
        return np.where(known, row, np.nan)
    starts = np.arange(_STEPS) * len(row) // _STEPS
    counts = np.add.reduceat(known.astype(np.float64), starts)
    sums = np.add.reduceat(np.where(known, row, 0.0), starts)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _coded(means: npt.NDArray[np.float64]) -> Thumbnail:
    known = np.isfinite(means)
    if not known.any():
        return _MISSING * len(means), None, None
    low, high = float(means[known].min()), float(means[known].max())
    scale = (len(_LEVELS) - 1) / (high - low) if high > low else 0.0
    levels = np.where(known, (means - low) * scale, 0).round().astype(np.int64)
    text = "".join(np.where(known, _LEVELS[levels], _MISSING))
    return text, _rounded(low), _rounded(high)


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
