from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from image_batches import applied, images
from torch import Tensor

from seqcl.modalities.image.crop import ResizedCrop
from seqcl.rng import Rng
from seqcl.views.frontend import IdentityFrontend


def cropped(batch, sides=(1.0, 1.0), place=(0.5, 0.5), flipped=False, angle=0.0, **options):
    rows = len(batch)
    return applied(
        ResizedCrop(degrees=180.0 if angle else 0.0, **options),
        batch,
        sides=torch.tensor([sides]).expand(rows, -1),
        place=torch.tensor([place]).expand(rows, -1),
        flipped=torch.full((rows,), flipped),
        angle=torch.full((rows,), angle),
    )


def read(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """Read (C, H, W) at a place in pixels from the corner, bilinear, edges repeated."""
    _, height, width = image.shape
    x, y = (np.clip(at - 0.5, 0, side - 1) for at, side in ((x, width), (y, height)))
    left, top = int(x), int(y)
    right, low = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    upper = (1 - a) * image[:, top, left] + a * image[:, top, right]
    return (1 - b) * upper + b * ((1 - a) * image[:, low, left] + a * image[:, low, right])


def slowly(image: Tensor, sides, place, flipped, angle, size) -> np.ndarray:
    """Average as many points as an output pixel needs, each found by plain geometry."""
    pixels = image.double().numpy()
    channels, height, width = pixels.shape
    out = np.zeros((channels, *size))
    fine_y, fine_x = math.ceil(height / size[0]), math.ceil(width / size[1])
    span = np.array([sides[0] * width, sides[1] * height])
    corner = np.array(place) * (np.array([width, height]) - span)
    for row in range(size[0] * fine_y):
        for column in range(size[1] * fine_x):
            u = (column + 0.5) / (size[1] * fine_x)
            v = (row + 0.5) / (size[0] * fine_y)
            x, y = (np.array([1 - u if flipped else u, v]) - 0.5) * span
            turned = np.array(
                [
                    math.cos(angle) * x - math.sin(angle) * y,
                    math.sin(angle) * x + math.cos(angle) * y,
                ]
            )
            at = corner + span / 2 + turned
            out[:, row // fine_y, column // fine_x] += read(pixels, *at) / (fine_x * fine_y)
    return out


@pytest.mark.parametrize("size", [(9, 7), (4, 7), (3, 2), (12, 15)])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(
    ("sides", "place", "angle"),
    [((1.0, 1.0), (0.5, 0.5), 0.0), ((0.6, 0.8), (0.2, 1.0), 0.0), ((0.5, 0.4), (0.5, 0.5), 0.3)],
)
def test_it_equals_plain_geometry(size, flipped, sides, place, angle) -> None:
    batch = images(rows=2)
    out = cropped(batch, sides, place, flipped, angle, size=size)
    for image, crop in zip(batch.values, out, strict=True):
        truth = slowly(image, sides, place, flipped, angle, size)
        np.testing.assert_allclose(crop.numpy(), truth, atol=2e-6)


def test_the_whole_is_the_image_and_a_flip_its_mirror() -> None:
    batch = images()
    torch.testing.assert_close(cropped(batch), batch.values, atol=1e-6, rtol=0)
    torch.testing.assert_close(cropped(batch, flipped=True), batch.values.flip(3))


def test_a_quarter_turn_moves_pixels_and_mixes_none() -> None:
    batch = images(size=(8, 8))
    turned = cropped(batch, angle=math.pi / 2)
    torch.testing.assert_close(turned, batch.values.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_a_shrunk_checkerboard_is_grey() -> None:
    """Without antialiasing every point would fall on one colour."""
    board = (torch.arange(32).view(-1, 1) + torch.arange(32)) % 2
    batch = images(1, 1, (32, 32)).with_values(board.float().view(1, 1, 32, 32))
    out = ResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, size=(8, 8))(batch, Rng(0))
    torch.testing.assert_close(out.values, torch.full((1, 1, 8, 8), 0.5), atol=1e-6, rtol=0)


def test_area_and_ratio_are_those_asked_for() -> None:
    batch = images(rows=4_000, size=(1, 1))
    sides = ResizedCrop(scale=(0.2, 0.4), ratio=(0.5, 2.0)).draw(batch, Rng(0))["sides"]
    area, ratio = sides.prod(1), sides[:, 0] / sides[:, 1]
    assert 0.199 < area.min() < 0.21
    assert 0.39 < area.max() < 0.401
    assert 0.499 < ratio.min() < 0.51
    assert 1.95 < ratio.max() < 2.001
    assert abs(ratio.log().mean()) < 0.03
    assert sides.max() <= 1


def test_a_record_that_is_not_chosen_is_shown_whole() -> None:
    batch = images(rows=64, size=(8, 8))
    half = ResizedCrop(p=0.5, size=(4, 4))
    params = half.sample(batch, Rng(0))
    out = half.apply(batch, params).values
    whole = torch.nn.functional.avg_pool2d(batch.values, 2)
    torch.testing.assert_close(out[~params["chosen"]], whole[~params["chosen"]])
    assert not torch.allclose(out, whole)


def test_a_reversed_range_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"ResizedCrop: scale is \(0.9, 0.2\)"):
        ResizedCrop(scale=(0.9, 0.2))


def test_multi_crop_makes_large_and_small_views() -> None:
    from seqcl.modalities.image.multi_crop import ImageMultiCrop

    batch = images(size=(16, 12))
    views = ImageMultiCrop(local_views=3)(batch, IdentityFrontend(3), Rng(0))
    assert [tuple(view.values.shape[2:]) for view in views] == [(16, 12)] * 2 + [(8, 6)] * 3
    sized = ImageMultiCrop(global_size=(10, 10), local_size=(4, 5), local_views=1)
    views = sized(batch, IdentityFrontend(3), Rng(0))
    assert [tuple(view.values.shape[2:]) for view in views] == [(10, 10)] * 2 + [(4, 5)]
    with pytest.raises(ValueError, match="scale is"):
        ImageMultiCrop(local_scale=(0.9, 0.1))


def test_an_enlarged_middle_equals_torchvision() -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    batch = images(size=(32, 32))
    ours = cropped(batch, sides=(0.5, 0.5), place=(0.5, 0.5), size=(32, 32))
    theirs = functional.resized_crop(batch.values, 8, 8, 16, 16, [32, 32], antialias=True)
    # At the edge of the crop they repeat it, and we see what lies beyond.
    torch.testing.assert_close(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], atol=1e-5, rtol=0)
