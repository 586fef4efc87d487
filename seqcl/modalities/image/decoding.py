"""Image files to arrays by Pillow, with its limits kept and its errors told in one line."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from seqcl.batch import Size
from seqcl.data.reader import Colour
from seqcl.errors import DataError

__all__ = ["channel_names", "decode_image", "read_header", "resize_image"]

Floats = npt.NDArray[np.float32]

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
"""What may be opened; others run programs (EPS) or are films (GIF)."""
_NAMES = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}
_KEPT = {"1": "L", "L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA"}
_DEEP = 65_535


def channel_names(count: int) -> tuple[str, ...]:
    """Return the names of an image file's channels."""
    return _NAMES[count]


def read_header(where: str, file: Path | IO[bytes], colour: Colour) -> tuple[Size, int]:
    """Return height and width, and the number of channels that `decode_image` gives."""
    with _opened(where, file) as image:
        mode = _mode(image, colour)
        return (image.height, image.width), 3 if colour == "rgb" else len(mode.strip("F") or "F")


def decode_image(
    where: str, file: Path | IO[bytes], colour: Colour, size: Size | None = None
) -> Floats:
    """Decode an image: (C, H, W) float32 in [0, 1].

    8 bits are divided by 255 and 16 bits by 65,535; a palette becomes its colours. `rgb` repeats
    grey and leaves alpha out, `grey` takes the luminance. `size` as in `resize_image`.

    Raises DataError, naming `where`, for what is no image, is cut short, has several frames, or
    more pixels than Pillow takes for safe (``PIL.Image.MAX_IMAGE_PIXELS``).
    """
    with _opened(where, file) as image:
        mode = _mode(image, colour)
        if mode == "F":
            plane = _deep(where, image)
            values = (plane if size is None else resize_image(plane, size)).repeat(
                3 if colour == "rgb" else 1, axis=0
            )
            return np.ascontiguousarray(values)
        flat = image.convert(mode)
        if size is not None:
            flat = _fit(flat, size)
        pixels = np.asarray(flat, dtype=np.float32) / np.float32(255)
    return np.ascontiguousarray(np.moveaxis(np.atleast_3d(pixels), 2, 0))


def resize_image(values: Floats, size: Size) -> Floats:
    """Resize (C, H, W) to `size` by bicubic interpolation, antialiased where it shrinks.

    Proportions stay: what stands out on the longer side is cut off, equally at both ends.
    """
    if values.shape[1:] == size:
        return values
    planes = [np.asarray(_fit(Image.fromarray(plane), size)) for plane in values]
    return np.stack(planes).clip(0, 1)


def _fit(image: Image.Image, size: Size) -> Image.Image:
    height, width = size
    return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)


def _mode(image: Image.Image, colour: Colour) -> str:
    """Return Pillow's mode to convert to; F stands for one channel of more than 8 bits."""
    if image.mode == "F" or image.mode.startswith("I"):
        return "F"
    if colour != "as_it_is":
        return "RGB" if colour == "rgb" else "L"
    return _KEPT.get(image.mode, "RGBA" if image.has_transparency_data else "RGB")


def _deep(where: str, image: Image.Image) -> Floats:
    plane = np.asarray(image, dtype=np.float32)
    most = 1.0 if image.mode == "F" else _DEEP
    if not ((plane >= 0) & (plane <= most)).all():
        raise DataError(
            f"{where}: has values of {plane.min():g} to {plane.max():g}; needed: 0 to {most:g}; "
            "save it with 8 or 16 bits"
        )
    return (plane / np.float32(most))[None]


@contextmanager
def _opened(where: str, file: Path | IO[bytes]) -> Iterator[Image.Image]:
    """Open an image and turn all that goes wrong inside the block into one line."""
    bomb: Any = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", module="PIL")
            with Image.open(file, formats=_FORMATS) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise DataError(f"{where}: has several frames; save each as an image")
                yield image
    except bomb:
        raise DataError(
            f"{where}: has more than {Image.MAX_IMAGE_PIXELS:,} pixels and may be made to exhaust "
            "memory; cut it into tiles"
        ) from None
    except UnidentifiedImageError:
        raise DataError(f"{where}: is no image of a known format ({', '.join(_FORMATS)})") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where}: is damaged ({reason}); save it again") from None
