from __future__ import annotations

import colorsys
import math

import pytest
import torch
from image_batches import applied, images
from torch import Tensor

from seqcl.modalities.image.colour import ColourDistortion, Grayscale, Solarise
from seqcl.rng import Rng

ONCE = {"p": 1.0}
WEIGHTS = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def distorted(
    batch, brightness=1.0, contrast=1.0, saturation=1.0, turn=0.0, order=(0, 1, 2, 3)
) -> Tensor:
    rows = len(batch)
    return applied(
        ColourDistortion(),
        batch,
        factors=torch.tensor([[brightness, contrast, saturation]]).expand(rows, -1),
        turn=torch.full((rows,), turn),
        order=torch.tensor([order]).expand(rows, -1),
    )


def grey(image: Tensor) -> Tensor:
    return (WEIGHTS * image).sum(0, keepdim=True)


def slowly(image: Tensor, brightness, contrast, saturation, order) -> Tensor:
    """Apply one after another, without cutting in between."""
    for kind in order:
        if kind == 0:
            image = brightness * image
        elif kind == 1:
            image = contrast * image + (1 - contrast) * grey(image).mean()
        elif kind == 2:
            image = saturation * image + (1 - saturation) * grey(image)
    return image.clamp(0, 1)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 2, 0, 3), (2, 0, 1, 3)])
@pytest.mark.parametrize("factors", [(1.3, 0.6, 1.7), (0.5, 1.4, 0.0), (1.0, 1.0, 1.0)])
def test_the_matrix_equals_one_change_after_another(order, factors) -> None:
    batch = images()
    out = distorted(batch, *factors, order=order)
    for image, changed in zip(batch.values, out, strict=True):
        torch.testing.assert_close(changed, slowly(image, *factors, order), atol=1e-5, rtol=0)


@pytest.mark.parametrize("turn", [0.0, 0.5, -2.0, math.pi])
def test_hue_turns_chroma_and_keeps_luminance(turn: float) -> None:
    batch = images()
    batch = batch.with_values(0.4 + 0.2 * batch.values)  # far from the edges of [0, 1]
    out = distorted(batch, turn=turn)
    for image, changed in zip(batch.values, out, strict=True):
        torch.testing.assert_close(grey(changed), grey(image), atol=1e-4, rtol=0)
        for point in range(5):
            before, after = (
                complex(*colorsys.rgb_to_yiq(*picture[:, point, point].double().tolist())[1:])
                for picture in (image, changed)
            )
            # Python's constants have two digits, ours three
            assert abs(after - before * complex(math.cos(turn), math.sin(turn))) < 0.01


def test_parameters_lie_within_their_ranges() -> None:
    batch = images(rows=2_000, size=(1, 1))
    params = ColourDistortion(brightness=0.4, contrast=0.2, hue=0.1).sample(batch, Rng(0))
    low, high = params["factors"].amin(0), params["factors"].amax(0)
    torch.testing.assert_close(low, torch.tensor([0.6, 0.8, 0.6]), atol=0.01, rtol=0)
    torch.testing.assert_close(high, torch.tensor([1.4, 1.2, 1.4]), atol=0.01, rtol=0)
    assert params["turn"].abs().max() <= 0.2 * math.pi
    assert {tuple(row) for row in params["order"].tolist()} == {
        (a, b, c, d)
        for a in range(4) for b in range(4) for c in range(4) for d in range(4)
        if len({a, b, c, d}) == 4
    }  # fmt: skip
    assert 0.77 < params["chosen"].float().mean() < 0.83


def test_a_grey_image_has_no_saturation_and_no_hue() -> None:
    batch = images(channels=1)
    out = distorted(batch, saturation=0.0, turn=2.0)
    torch.testing.assert_close(out, batch.values)
    assert distorted(batch, contrast=0.0).std() < batch.values.std()
    torch.testing.assert_close(Grayscale(**ONCE)(batch, Rng(0)).values, batch.values)


def test_two_channels_have_no_colours() -> None:
    batch = images(channels=2)
    with pytest.raises(ValueError, match="the images have 2 channels; set saturation and hue to 0"):
        ColourDistortion(**ONCE)(batch, Rng(0))
    with pytest.raises(ValueError, match="Grayscale: luminance needs red, green and blue"):
        Grayscale(**ONCE)(batch, Rng(0))
    plain = ColourDistortion(saturation=0.0, hue=0.0, **ONCE)(batch, Rng(0)).values
    assert not torch.equal(plain, batch.values)


def test_grayscale_is_the_luminance() -> None:
    batch = images()
    out = Grayscale(**ONCE)(batch, Rng(0)).values
    for image, changed in zip(batch.values, out, strict=True):
        torch.testing.assert_close(changed, grey(image).expand(3, -1, -1))


def test_solarise_inverts_what_reaches_the_threshold() -> None:
    batch = images()
    out = applied(Solarise(), batch, threshold=torch.full((4, 1, 1, 1), 0.7))
    for before, after in zip(batch.values.flatten(), out.flatten(), strict=True):
        assert after == (1 - before if before >= 0.7 else before)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.6])
def test_each_change_equals_torchvision(factor: float) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    batch = images(size=(32, 32))
    for name in ("brightness", "contrast", "saturation"):
        theirs = getattr(functional, f"adjust_{name}")(batch.values, factor)
        # Their weights of luminance have four digits and sum to 0.9999.
        torch.testing.assert_close(distorted(batch, **{name: factor}), theirs, atol=1e-3, rtol=0)
    theirs = functional.rgb_to_grayscale(batch.values, 3)
    torch.testing.assert_close(Grayscale(**ONCE)(batch, Rng(0)).values, theirs, atol=1e-3, rtol=0)
    ours = applied(Solarise(), batch, threshold=torch.full((4, 1, 1, 1), 0.5))
    torch.testing.assert_close(ours, functional.solarize(batch.values, 0.5))
