"""Soft assignments: near pairs weigh more, masked steps do not count."""

import math

import pytest
import torch

from seqcl.losses.soft import record_weights, time_weights


def slow_weights(
    values: torch.Tensor, real: torch.Tensor, sharpness: float, ceiling: float
) -> torch.Tensor:
    rows = range(len(values))
    far = torch.zeros(len(values), len(values), dtype=torch.float64)
    for i in rows:
        for j in rows:
            both = [t for t in range(values.shape[2]) if real[i, t] and real[j, t]]
            squares = [float((values[i, :, t] - values[j, :, t]).square().sum()) for t in both]
            far[i, j] = math.sqrt(sum(squares) / len(both)) if both else -1.0
    far[far < 0] = far.max()
    far /= far.max()
    weights = 2 * ceiling * torch.sigmoid(-sharpness * far)
    return weights.fill_diagonal_(1.0)


@pytest.mark.parametrize("masked", [False, True])
def test_weights_of_records_equal_a_slow_reference(masked: bool) -> None:
    values = torch.randn(5, 3, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    real = torch.ones(5, 11, dtype=torch.bool)
    if masked:
        real[1, 6:], real[2, :9], real[3, 4] = False, False, False
        values = values.masked_fill(~real[:, None], float("nan"))
    found = record_weights(values, real if masked else None, 3.0, 0.5)
    expected = slow_weights(values, real, 3.0, 0.5)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found, found.T)
    assert found.min() > 0.99 / (1 + math.exp(3.0))
    assert found.fill_diagonal_(0).max() < 0.5


@pytest.mark.parametrize(("shift", "scale"), [(1e4, 1.0), (0.0, 1e20), (0.0, 1e-20)])
def test_weights_of_records_do_not_depend_on_where_the_data_lie(shift: float, scale: float) -> None:
    values = torch.randn(4, 2, 50, generator=torch.Generator().manual_seed(0))
    found = record_weights(values * scale + shift, None, 5.0)
    torch.testing.assert_close(found, record_weights(values, None, 5.0), rtol=0, atol=2e-3)


def test_equal_records_get_the_ceiling_and_one_record_is_its_own_positive() -> None:
    weights = record_weights(torch.ones(3, 1, 4), None, 5.0, 0.4)
    off = weights[~torch.eye(3, dtype=torch.bool)]
    torch.testing.assert_close(off, torch.full((6,), 0.4))
    assert record_weights(torch.ones(1, 1, 4), None, 5.0).tolist() == [[1.0]]


def test_weights_of_steps_fall_with_their_distance() -> None:
    weights = time_weights(4, 0.5, torch.zeros(1, dtype=torch.float64))
    expected = [[2 / (1 + math.exp(0.5 * abs(s - t))) for t in range(4)] for s in range(4)]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))
    assert time_weights(3, 0.5, torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
