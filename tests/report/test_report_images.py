from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from seqcl.report import Scatter
from seqcl.report.grid import draw_grid
from seqcl.report.scatter import map_payload
from seqcl.report.thumbnails import picture


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_small_image_is_kept_pixel_by_pixel(channels: int) -> None:
    values = np.zeros((channels, 2, 3))
    values[0, 0] = (0, 0.5, 1)
    height, width, codes = picture(values)
    assert (height, width) == (2, 3)
    assert len(codes) == (18 if channels >= 3 else 6)
    assert codes[:6] == "Ag_AAA"


def test_a_large_image_is_averaged() -> None:
    board = (np.add.outer(np.arange(40), np.arange(32)) % 2)[None].astype(float)
    height, width, codes = picture(board)
    assert (height, width) == (16, 16)
    assert set(codes) <= set("efghij")  # near the middle of 64 levels


def test_the_map_holds_images_as_pictures_and_series_as_lines() -> None:
    points = np.random.default_rng(0).normal(size=(5, 2))
    payload = map_payload(
        Scatter(points=points, ids=list("abcde"), series=[np.zeros((3, 4, 4))] * 5)
    )
    assert len(payload["pictures"]) == 5
    assert payload["series"] == []
    payload = map_payload(Scatter(points=points, ids=list("abcde"), series=[np.zeros((3, 4))] * 5))
    assert payload["pictures"] == []
    assert len(payload["series"]) == 5


def test_a_grid_enlarges_by_whole_numbers_and_keeps_each_size() -> None:
    small, large = np.ones((3, 4, 4), np.float32) * 0.5, np.zeros((1, 8, 8), np.float32)
    with Image.open(io.BytesIO(draw_grid([[large, small]]))) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (6 + 102, 6 + 2 * 102, 3)
    assert (pixels[6:102, 6:102] == 0).all()
    assert (pixels[6:54, 108:156] == 128).all()
    assert (pixels[60:, 108:] == 255).all()
