"""What a preset's components take must be what its modality gives."""

from __future__ import annotations

import pytest

from seqcl.config.preset import load_preset, resolve_preset
from seqcl.errors import PresetError


def test_the_modality_says_how_files_are_read() -> None:
    image, series = load_preset("image-simclr"), load_preset("series")
    assert (image.data.layout, image.data.scaler, image.frontend.name) == (
        "CHW",
        "none",
        "standardise",
    )
    assert (series.data.layout, series.data.scaler) == ("CT", "channel")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "encoder=conv1d",
            "encoder: conv1d is not made for modality image. Those that are: ensemble, resne",
        ),
        ("views=overlapping", "overlapping is not made for modality image.*image_multi_crop"),
        ("views={independent: {before: [time_warp]}}", "time_warp is not made for modality image"),
        ("data.window=8", "window=8 cuts series into steps and these are images"),
    ],
)
def test_components_of_series_are_refused_for_images(override: str, message: str) -> None:
    with pytest.raises(PresetError, match=message):
        load_preset("image-simclr", [override])


def test_components_of_images_are_refused_for_series() -> None:
    tree = {"modality": "sequence", "views": {"independent": {"after": ["cutout"]}}}
    with pytest.raises(PresetError) as caught:
        resolve_preset({**tree, "encoder": "resnet2d", "method": "simclr"}, "mine")
    assert len(caught.value.faults) == 2
