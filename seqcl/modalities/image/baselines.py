"""Pixels and ColourHistogram: what a trained encoder of images is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from seqcl.batch import Embeddings
from seqcl.data.dataset import Dataset
from seqcl.data.scaler import Scaler
from seqcl.modalities.base import Baseline, NotApplicable

__all__ = ["ColourHistogram", "Pixels"]

Floats = npt.NDArray[np.float32]

_ROWS = 1_024
_SIDE = 32
_BINS = 16


class Pixels(Baseline):
    """The pixels themselves, for k-NN with the Euclidean distance and for a linear probe.

    Channels are standardised by the reference's means and deviations; images of more than 32
    pixels a side are averaged down to 32.
    """

    name: ClassVar[str] = "pixels"
    evaluators: ClassVar[tuple[str, ...]] = ("knn", "linear")

    def __call__(
        self, reference: Dataset, test: Dataset, seed: int
    ) -> tuple[Embeddings, Embeddings]:
        """Return (N, C * H * W) each; `seed` changes nothing."""
        scaler = Scaler(len(reference.channels), mode="channel")
        scaler.fit(reference)

        def small(images: Floats) -> Floats:
            values = torch.from_numpy(images)
            scaled = scaler(values.flatten(2)).view_as(values)
            height, width = (min(side, _SIDE) for side in values.shape[2:])
            pooled = F.adaptive_avg_pool2d(scaled, (height, width))
            flat: Floats = pooled.flatten(1).numpy()
            return flat

        return _mapped(reference, small, metric="euclidean"), _mapped(
            test, small, metric="euclidean"
        )


class ColourHistogram(Baseline):
    """How often each level of each channel occurs: colours without any form.

    16 levels a channel; square roots of shares, so that their distances are Hellinger's.
    """

    name: ClassVar[str] = "colour_histogram"
    evaluators: ClassVar[tuple[str, ...]] = ("knn", "linear")

    def __call__(
        self, reference: Dataset, test: Dataset, seed: int
    ) -> tuple[Embeddings, Embeddings]:
        """Return (N, 16 * C) each; `seed` changes nothing."""
        return _mapped(reference, _histogram, metric="euclidean"), _mapped(
            test, _histogram, metric="euclidean"
        )


def _histogram(images: Floats) -> Floats:
    """Return (n, 16 * C) for images (n, C, H, W) in [0, 1]."""
    rows, channels = images.shape[:2]
    levels = np.minimum((images * _BINS).astype(np.int64), _BINS - 1).reshape(rows * channels, -1)
    offset = np.arange(rows * channels)[:, None] * _BINS
    counts = np.bincount((levels + offset).ravel(), minlength=rows * channels * _BINS)
    shares = counts.reshape(rows, channels * _BINS) / levels.shape[1]
    return np.sqrt(shares).astype(np.float32)


def _mapped(dataset: Dataset, function: Callable[[Floats], Floats], **info: Any) -> Embeddings:
    """Apply `function` to the images in blocks."""
    if dataset.size is None:
        raise NotApplicable("needs images, and these are series")
    parts = []
    for first in range(0, len(dataset), _ROWS):
        rows = dataset.gather(range(first, min(first + _ROWS, len(dataset))))
        parts.append(function(rows.values.reshape(*rows.values.shape[:2], *dataset.size)))
    return Embeddings(
        values=np.concatenate(parts),
        ids=tuple(dataset.ids),
        labels=tuple(dataset.labels),
        groups=tuple(dataset.groups),
        info=info,
    )
