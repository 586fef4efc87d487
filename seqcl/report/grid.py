"""Images beside their views as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["draw_grid", "rgb"]

_GAP = 6
_SIDE = 96
"""Pixels that a cell has at least; smaller images are enlarged by a whole number."""


def draw_grid(grid: Sequence[Sequence[npt.NDArray[np.float32]]]) -> bytes:
    """Draw rows of images (C, H, W) in [0, 1], of any sizes, as the bytes of a PNG.

    Pixels stay square and sharp. More than three channels show their first three, two the first.
    """
    from PIL import Image

    tallest, widest = (max(image.shape[at] for row in grid for image in row) for at in (1, 2))
    factor = max(1, -(-_SIDE // max(tallest, widest)))
    tall, wide = tallest * factor, widest * factor
    columns = max(len(row) for row in grid)
    size = (_GAP + columns * (wide + _GAP), _GAP + len(grid) * (tall + _GAP))
    sheet = Image.new("RGB", size, "white")
    for line, row in enumerate(grid):
        for column, image in enumerate(row):
            pixels = np.rint(rgb(image) * 255).astype(np.uint8).transpose(1, 2, 0)
            height, width = (length * factor for length in image.shape[1:])
            shown = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
            corner = (_GAP + column * (wide + _GAP), _GAP + line * (tall + _GAP))
            sheet.paste(shown, corner)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def rgb(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return three channels of (C, H, W): the first three, or the first one three times."""
    shown = image[:3] if len(image) >= 3 else image[:1].repeat(3, axis=0)
    return np.clip(np.nan_to_num(shown), 0, 1)
