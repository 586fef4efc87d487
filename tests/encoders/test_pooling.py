from math import exp, sqrt

import pytest
import torch
from torch import Tensor

from seqcl.encoders.pooling import (
    AttentionPool,
    LastPool,
    MaxPool,
    MeanPool,
    SegmentPool,
    StatsPool,
)

FEATURES = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor(
    [[1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1, 0]], dtype=torch.bool
)


def real_values(row: int, feature: int) -> list[float]:
    pairs = zip(FEATURES[row, feature].tolist(), MASK[row].tolist(), strict=True)
    return [value for value, is_real in pairs if is_real]


def deviation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / len(values) + 1e-6)


def soft_share(values: list[float]) -> float:
    return sum(1 / (1 + exp(-8 * value)) for value in values) / len(values)


def per_row(statistic: object) -> Tensor:
    assert callable(statistic)
    return torch.tensor([[statistic(real_values(b, d)) for d in range(4)] for b in range(3)])


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_mean_max_and_last_equal_plain_loops() -> None:
    torch.testing.assert_close(MeanPool(4)(FEATURES, MASK), per_row(mean))
    assert torch.equal(MaxPool(4)(FEATURES, MASK), per_row(max))
    assert torch.equal(LastPool(4)(FEATURES, MASK), per_row(lambda values: values[-1]))


def test_stats_are_means_then_maxima_then_deviations_then_positive_shares() -> None:
    slow = torch.cat([per_row(part) for part in (mean, max, deviation, soft_share)], dim=1)
    torch.testing.assert_close(StatsPool(4)(FEATURES, MASK), slow)


def test_attention_equals_a_softmax_by_hand_and_starts_as_the_mean() -> None:
    pooling = AttentionPool(4)
    torch.testing.assert_close(pooling(FEATURES, MASK), MeanPool(4)(FEATURES, MASK))
    torch.nn.init.normal_(pooling.query)
    for row in range(3):
        steps = FEATURES[row].T[MASK[row]]
        weights = torch.softmax(steps @ pooling.query, dim=0)
        torch.testing.assert_close(pooling(FEATURES, MASK)[row], weights @ steps)


def test_the_share_of_positive_values_counts_clear_signs() -> None:
    row = torch.tensor([[[3.0, -2.0, 5.0, 1.0, -4.0, 2.0, -1.0, 1.0]]])
    share = StatsPool(1)(row, None)[0, 3]
    assert share.item() == pytest.approx(5 / 8, abs=1e-3)  # sigmoid(-8) is 3e-4


def test_a_constant_row_has_no_deviation_and_no_gradient_of_it() -> None:
    row = torch.full((1, 1, 6), 2.0, requires_grad=True)
    deviation = StatsPool(1)(row, None)[0, 2]
    deviation.backward()
    assert deviation.item() == pytest.approx(1e-3, rel=1e-3)  # the root of the floor, 1e-6
    assert row.grad is not None
    assert row.grad.eq(0).all()


def test_out_dim_is_four_times_in_dim_for_stats_alone() -> None:
    assert StatsPool(5).out_dim == 20
    assert {pool(5).out_dim for pool in (MeanPool, MaxPool, LastPool, AttentionPool)} == {5}


@pytest.mark.parametrize("segments", [1, 2, 3, 7, 10])
def test_segments_are_means_of_equal_parts_of_the_real_steps(segments: int) -> None:
    pooled = SegmentPool(4, segments=segments)(FEATURES, MASK)
    for row in range(3):
        real = FEATURES[row : row + 1, :, MASK[row]]
        parts = torch.nn.functional.adaptive_avg_pool1d(real, segments)[0]
        torch.testing.assert_close(pooled[row], parts.T.flatten())
    assert SegmentPool(4, segments=segments).out_dim == 4 * segments
