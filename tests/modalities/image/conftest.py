"""`image_bytes` importable, and a folder of image files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from image_bytes import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three images in sub-folders."""
    root = tmp_path / "pets"
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(picture()).save(root / label / f"{number}.png")
    return root
