"""Images as arrays: values in [0, 1], channels first, one size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.errors import DataError

__all__ = ["channels_first", "check_images", "to_unit", "unit_images"]

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
    """Return images (n, C, H, W) as float32 in [0, 1], a copy; raises as `check_images`."""
    check_images(where, X)
    return to_unit(X)


def check_images(where: str, X: npt.NDArray[Any]) -> None:
    """Raise DataError for an array (n, C, H, W) that `to_unit` cannot bring into [0, 1].

    Those are types other than unsigned integers, booleans and floats, floats beyond [0, 1], NaN
    included, and arrays without values.
    """
    if 0 in X.shape:
        raise DataError(f"{where} is {X.shape}: it holds no values")
    if X.dtype.kind not in "fub":
        raise DataError(
            f"{where} is of {X.dtype}; images are uint8, uint16, bool, or float in [0, 1]"
        )
    for first in range(0, len(X) if X.dtype.kind == "f" else 0, _BLOCK):
        part = X[first : first + _BLOCK]
        wrong = ~((part >= 0) & (part <= 1))
        if wrong.any():
            row = int(np.argmax(wrong.any(axis=(1, 2, 3))))
            raise DataError(
                f"{where}: image {first + row} holds {part[row][wrong[row]][0]:g}; floats must lie "
                "in [0, 1], and an image has no missing values: divide by the largest possible "
                "value, or fill it"
            )


def to_unit(X: npt.NDArray[Any]) -> Floats:
    """Return an array as float32, a copy, unsigned integers divided by their type's largest."""
    values = X.astype(np.float32, order="C")
    return values / np.float32(np.iinfo(X.dtype).max) if X.dtype.kind == "u" else values
