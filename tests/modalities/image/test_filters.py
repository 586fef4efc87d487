from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from image_batches import applied, images

from seqcl.modalities.image import filters
from seqcl.modalities.image.cutout import Cutout
from seqcl.modalities.image.filters import GaussianBlur, Sobel
from seqcl.modalities.image.frontend import Standardise
from seqcl.rng import Rng


def mirrored(place: int, side: int) -> int:
    place = abs(place)
    return 2 * (side - 1) - place if place > side - 1 else place


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_blur_equals_a_plain_sum_with_mirrored_edges(radius: int) -> None:
    batch = images(rows=2, channels=2, size=(7, 5))
    sigma = torch.tensor([[0.8], [2.0]])
    out = applied(GaussianBlur(radius=radius), batch, sigma=sigma)
    for row, image in enumerate(batch.values.double().numpy()):
        _, height, width = image.shape
        ys, xs = (min(radius, side - 1) for side in (height, width))
        bell = [math.exp(-0.5 * (k / sigma[row].item()) ** 2) for k in range(-9, 10)]
        truth = np.zeros_like(image)
        weight = 0.0
        for dy in range(-ys, ys + 1):
            for dx in range(-xs, xs + 1):
                both = bell[9 + dy] * bell[9 + dx]
                weight += both
                for y in range(height):
                    for x in range(width):
                        source = image[:, mirrored(y + dy, height), mirrored(x + dx, width)]
                        truth[:, y, x] += both * source
        np.testing.assert_allclose(out[row].numpy(), truth / weight, atol=2e-6)


def test_the_kernel_is_a_tenth_of_the_longer_side() -> None:
    batch = images(rows=1, channels=1, size=(40, 100)).with_values(torch.zeros(1, 1, 40, 100))
    batch.values[0, 0, 20, 50] = 1
    out = applied(GaussianBlur(), batch, sigma=torch.tensor([[50.0]]))
    assert (out[0, 0] > 0).sum(1).max() == 11
    torch.testing.assert_close(out.sum(), torch.tensor(1.0))


def test_blur_equals_torchvision() -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    batch = images(size=(32, 32))
    ours = applied(GaussianBlur(radius=3), batch, sigma=torch.full((4, 1), 1.3))
    theirs = functional.gaussian_blur(batch.values, [7, 7], [1.3, 1.3])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_sobel_gives_the_length_of_the_gradient() -> None:
    ramp = (torch.arange(9) * 0.02).expand(1, 1, 7, 9)
    batch = images(1, 1, (7, 9)).with_values(ramp + 0.01 * torch.arange(7).view(1, 1, 7, 1))
    out = applied(Sobel(), batch, gain=torch.ones(1, 1, 1, 1))
    # eight times the slope of each axis, inside
    expected = torch.full((5, 7), 8 * math.hypot(0.02, 0.01))
    torch.testing.assert_close(out[0, 0, 1:-1, 1:-1], expected)


def test_cutout_hides_a_rectangle_of_the_size_asked_for() -> None:
    batch = images(rows=500, channels=2, size=(20, 40))
    batch = batch.with_values(batch.values + 1)
    out = Cutout(sides=(0.25, 0.5))(batch, Rng(0)).values
    hidden = out[:, 0] == 0
    assert torch.equal(hidden, out[:, 1] == 0)
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), rows * columns), "rectangles"
    assert 9 <= rows.max() <= 10
    assert 19 <= columns.max() <= 20
    assert torch.equal(out[~hidden[:, None].expand_as(out)], batch.values[out != 0])


def test_the_front_end_standardises_and_shows_the_image_again() -> None:
    batch = images(rows=32)
    frontend = Standardise(3)
    assert torch.equal(frontend(batch).values, batch.values)
    frontend.prepare(batch, Rng(0))
    values = frontend(batch).values
    torch.testing.assert_close(values.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std((0, 2, 3), correction=0), torch.ones(3))
    torch.testing.assert_close(frontend.picture(values), batch.values, atol=1e-6, rtol=0)


def test_a_constant_channel_keeps_its_scale() -> None:
    batch = images().with_values(torch.full((4, 3, 9, 7), 0.25))
    frontend = Standardise(3)
    frontend.prepare(batch, Rng(0))
    assert torch.equal(frontend(batch).values, torch.zeros(4, 3, 9, 7))


@pytest.mark.parametrize("chosen", [[], [2], [0, 3, 4, 5, 7, 8, 9, 10, 11], list(range(12))])
@pytest.mark.parametrize("on_host", [True, False])
def test_the_blur_of_chosen_images_is_that_of_all(
    chosen: list[int], on_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqcl.modalities.image.chosen.may_be_read", lambda _: on_host)
    batch, blur = images(12), GaussianBlur(radius=3)
    before = batch.values.clone()
    params = {"sigma": torch.linspace(0.3, 2.0, 12).view(-1, 1)}
    picked = torch.zeros(12, dtype=torch.bool)
    picked[chosen] = True
    out = blur.apply(batch, {**params, "chosen": picked}).values
    blurred = blur.apply(batch, {**params, "chosen": None}).values
    assert torch.equal(out, torch.where(picked.view(-1, 1, 1, 1), blurred, before))
    assert torch.equal(batch.values, before)


def test_only_chosen_images_are_blurred_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    conv = filters.F.conv2d
    monkeypatch.setattr(
        filters.F, "conv2d", lambda x, w, **k: seen.append(len(w)) or conv(x, w, **k)
    )
    picked = torch.arange(40) < 11
    GaussianBlur(radius=3).apply(images(40), {"sigma": torch.ones(40, 1), "chosen": picked})
    assert seen == [16 * 3, 16 * 3]  # 11 images in a multiple of 8
