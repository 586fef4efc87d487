"""Image files that a test writes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def picture(height: int = 8, width: int = 8, channels: int = 3) -> np.ndarray:
    """A smooth image, uint8 (H, W, C)."""
    grid = np.add.outer(np.arange(height), np.arange(width))[..., None]
    waves = np.sin(grid * RNG.uniform(0.2, 0.6, channels) + RNG.uniform(0, 6, channels))
    return ((waves + 1) * 127).astype(np.uint8)


def jpeg(height: int = 8, width: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(height, width)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def packed(*files: bytes) -> dict[str, np.ndarray]:
    """The blob and offsets of image files."""
    ends = np.cumsum([0, *(len(file) for file in files)])
    return {"blob": np.frombuffer(b"".join(files), np.uint8), "off": ends}
