"""Images as arrays: values in [0, 1], channels first, one size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.errors import DataError

__all__ = ["channels_first", "unit_images"]

Floats = npt.NDArray[np.float32]

_FEW = 4
"""Channels that an image has at most where its channels come last: grey, RGB, with alpha."""
_BLOCK = 4_096


def channels_first(where: str, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return images as (n, C, H, W), without a copy.

    (n, H, W) are images of one channel. (n, a, b, c) has its channels last where c is at most 4
    and a is more, and first otherwise. Raises DataError for another shape, and where a equals b
    but not c: those are square images with many channels last.
    """
    if X.ndim == 3:
        return X[:, None]
    if X.ndim != 4:
        raise DataError(f"{where} is {X.shape}; images are (n, C, H, W), (n, H, W, C) or (n, H, W)")
    _, a, b, c = X.shape
    if c <= _FEW < a:
        return np.moveaxis(X, 3, 1)
    if a > _FEW and a == b != c:
        raise DataError(
            f"{where} is {X.shape}, which looks like {a} x {b} pixels of {c} channels; channels "
            "come first: save X.transpose(0, 3, 1, 2)"
        )
    return X


def unit_images(where: str, X: npt.NDArray[Any]) -> Floats:
    """Return images (n, C, H, W) as float32 in [0, 1], a copy.

    Unsigned integers are divided by the largest value of their type, booleans are 0 and 1, floats
    must lie in [0, 1] already. Raises DataError for any other, and where nothing is in there.
    """
    kind = X.dtype.kind
    if 0 in X.shape:
        raise DataError(f"{where} is {X.shape}: it holds no values")
    if kind not in "fub":
        raise DataError(
            f"{where} is of {X.dtype}; images are uint8, uint16, bool, or float in [0, 1]"
        )
    images = X.astype(np.float32)
    if kind == "u":
        images /= np.float32(np.iinfo(X.dtype).max)
    elif kind == "f":
        _check_range(where, images)
    return images


def _check_range(where: str, images: Floats) -> None:
    """Raise DataError for values that are not in [0, 1], NaN included."""
    for first in range(0, len(images), _BLOCK):
        part = images[first : first + _BLOCK]
        wrong = ~((part >= 0) & (part <= 1))
        if wrong.any():
            row = int(np.argmax(wrong.any(axis=(1, 2, 3))))
            value = part[row][wrong[row]][0]
            raise DataError(
                f"{where}: image {first + row} holds {value:g}; floats must lie in [0, 1], and an "
                "image has no missing values: divide by the largest possible value, or fill it"
            )
