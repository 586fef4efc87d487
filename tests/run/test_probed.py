"""The probe of a run: validation records whose labels are classes, and no others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from seqcl.config.preset import load_preset
from seqcl.data.dataset import dataset_from_arrays
from seqcl.run.fitting import assemble, fit

X = np.random.default_rng(0).normal(size=(12, 1, 16)).astype(np.float32)
PRESET = load_preset(
    "series", ["encoder.widths=[4]", "training.batch_size=4", "training.steps=1"]
)  # fmt: skip
HALVES = [0, 1] * 6
ALONE = [*range(11), 0]


def logged(
    labels: Sequence[object] | None, groups: Sequence[str] | None = None
) -> dict[str, float]:
    validation = dataset_from_arrays(X, labels, groups)  # type: ignore[arg-type]
    parts = assemble(
        PRESET, dataset_from_arrays(X), seed=0, device=torch.device("cpu"), validation=validation
    )
    result = fit(parts)
    assert result is not None
    return dict(result.metrics)  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [HALVES, ["a", "b", None] * 4])
def test_classes_of_the_validation_records_are_probed(labels: Sequence[object]) -> None:
    found = logged(labels)
    assert 0 <= found["val_knn"] <= 1
    assert 0 <= found["val_ridge"] <= 1


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (None, None),
        ([0.25 * row for row in range(12)], None),
        ([("a",), ("a", "b")] * 6, None),
        ([0] * 12, None),
        (ALONE, None),
        (HALVES, ["left", "right"] * 6),
    ],
    ids=["none", "values", "tags", "one class", "one class with two records", "a group a class"],
)
def test_what_is_no_two_classes_is_not_probed(
    labels: Sequence[object] | None, groups: Sequence[str] | None
) -> None:
    found = logged(labels, groups)
    assert "val_knn" not in found
    assert "rankme" in found
