"""A series as a few characters: what the map shows of a record on hover."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Thumbnail", "thumbnail"]

Thumbnail = tuple[str, float | None, float | None]
"""Levels of one channel, and the values of its lowest and highest level."""

_STEPS = 64
_CHANNELS = 3
_LEVELS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
_MISSING = "."


def thumbnail(values: npt.NDArray[Any]) -> list[Thumbnail]:
    """Shorten (C, T) values to at most 3 channels of 64 means, one character each.

    A character is a level from lowest (``A``) to highest (``_``) in the order of the base64url
    alphabet, ``.`` where all steps of a stretch are missing.
    """
    return [_coded(_means(np.asarray(row, dtype=np.float64))) for row in values[:_CHANNELS]]


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
