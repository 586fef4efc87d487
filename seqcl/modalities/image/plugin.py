"""IMAGE: images of one size and any number of channels."""

from __future__ import annotations

from seqcl.modalities.base import Modality

__all__ = ["IMAGE"]

IMAGE = Modality(
    name="image",
    layout="CHW",
    frontend="standardise",
    views={"independent": {"before": ["resized_crop", "colour_distortion", "grayscale"]}},
    encoder="resnet2d",
    scaler="none",
    baselines=("pixels", "colour_histogram"),
)
