"""Scaling: what is constant, in any unit."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.detection.scaling import Scaling


def fitted(values: np.ndarray) -> Scaling:
    scaling = Scaling()
    scaling.fit([values.astype(np.float32)])
    return scaling


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_what_moves_is_not_constant_in_any_unit(unit: float) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 2))
    values = rows * unit
    values[:, 1] += unit
    assert not fitted(values).state["constant"].any()
    assert fitted(values)(values.astype(np.float32)).std(0).numpy() == pytest.approx(1, abs=0.02)


def test_what_stays_within_steps_of_float32_is_constant() -> None:
    values = np.tile(np.float32([0.0, 0.1, 4e8, 1e-9, np.nan]), (300, 1))
    values[::3, 1] = np.nextafter(np.float32(0.1), np.float32(1))
    assert fitted(values).state["constant"].all()
    values[7, 0] = 1e-12
    assert fitted(values).state["constant"].tolist() == [False, True, True, True, True]
