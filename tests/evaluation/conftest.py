"""Embeddings to evaluate: separated classes, noise, and both ends of few labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from seqcl.batch import Embeddings, Label

Make = Callable[..., Embeddings]


def _make(
    values: np.ndarray,
    labels: Sequence[Label | None] | None = None,
    prefix: str = "r",
    **info: str,
) -> Embeddings:
    ids = tuple(f"{prefix}{row}" for row in range(len(values)))
    named = None if labels is None else tuple(labels)
    return Embeddings(np.asarray(values, np.float32), ids, named, info=info)


@pytest.fixture(scope="session")
def make() -> Make:
    """Return ``make(values, labels, prefix, **info)``."""
    return _make


@pytest.fixture(scope="session")
def blobs() -> Callable[..., Embeddings]:
    """Return ``blobs(records, seed, prefix, ...)``: Gaussian classes around fixed centres."""

    def build(
        records: int = 60,
        seed: int = 0,
        prefix: str = "r",
        *,
        classes: Sequence[Label] = ("a", "b", "c"),
        size: int = 8,
        distance: float = 2.0,
    ) -> Embeddings:
        centres = np.random.default_rng(99).standard_normal((len(classes), size)) * distance
        rng = np.random.default_rng(seed)
        codes = np.arange(records) % len(classes)
        values = centres[codes] + rng.standard_normal((records, size))
        return _make(values, [classes[code] for code in codes], prefix)

    return build
