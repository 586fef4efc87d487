from __future__ import annotations

import numpy as np
import pytest

from seqcl.data.dataset import dataset_from_arrays
from seqcl.modalities.base import NotApplicable
from seqcl.modalities.image.baselines import ColourHistogram, Pixels

X = np.random.default_rng(0).random((9, 3, 8, 6), dtype=np.float32)


def test_pixels_are_standardised_by_the_reference() -> None:
    reference, test = Pixels()(dataset_from_arrays(X[:6]), dataset_from_arrays(X[6:]), 0)
    mean, std = (f(X[:6], axis=(0, 2, 3))[:, None, None] for f in (np.mean, np.std))
    np.testing.assert_allclose(test.values, ((X[6:] - mean) / std).reshape(3, -1), rtol=1e-4)
    assert reference.info["metric"] == "euclidean"


def test_large_images_are_averaged_down() -> None:
    large = X.repeat(16, axis=2).repeat(16, axis=3)  # 128 x 96
    reference, _ = Pixels()(dataset_from_arrays(large), dataset_from_arrays(large), 0)
    assert reference.values.shape == (9, 3 * 32 * 32)


def test_a_histogram_counts_the_levels_of_each_channel() -> None:
    _, test = ColourHistogram()(dataset_from_arrays(X), dataset_from_arrays(X[:2]), 0)
    for image, found in zip(X, test.values, strict=False):
        counts = [np.histogram(channel, bins=16, range=(0, 1))[0] for channel in image]
        np.testing.assert_allclose(found**2, np.concatenate(counts) / 48, atol=1e-6)


@pytest.mark.parametrize("baseline", [Pixels, ColourHistogram])
def test_series_have_no_pixels(baseline) -> None:
    series = dataset_from_arrays(X[:, :, 0])
    with pytest.raises(NotApplicable, match="needs images"):
        baseline()(series, series, 0)
