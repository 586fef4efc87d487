"""Collapse metrics against their closed forms and a plain reference."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from seqcl.metrics.collapse import alignment, pair_cosines, rankme, relative_std, uniformity

rng = np.random.default_rng(0)
EQUAL = np.tile(rng.normal(size=16), (40, 1))
BASIS = 3 * np.linalg.qr(rng.normal(size=(16, 16)))[0]
NOISE = rng.normal(size=(4000, 16))


def test_equal_rows_are_complete_collapse() -> None:
    # Rounding leaves 1e-16 of a value of 1.
    assert relative_std(EQUAL) == pytest.approx(0, abs=1e-12)
    assert rankme(EQUAL) == pytest.approx(1, abs=1e-12)
    assert uniformity(EQUAL) == pytest.approx(0, abs=1e-12)


def test_an_orthonormal_basis_fills_all_its_dimensions() -> None:
    assert rankme(BASIS) == pytest.approx(16, rel=1e-12)
    assert uniformity(BASIS) == pytest.approx(-4, rel=1e-12)
    assert relative_std(np.eye(16)) == pytest.approx(math.sqrt(15 / 16), rel=1e-12)


def test_white_noise_spreads_like_white_noise() -> None:
    assert relative_std(NOISE) == pytest.approx(1, abs=0.01)  # 4,000 rows: 1 / sqrt(8000)
    assert 15.9 < rankme(NOISE) <= 16


def test_a_line_through_the_origin_is_seen_by_rankme_alone() -> None:
    line = np.concatenate([np.ones((20, 16)), -np.ones((20, 16))])
    assert relative_std(line) == pytest.approx(1, rel=1e-12)
    assert rankme(line) == pytest.approx(1, abs=1e-12)


def test_rankme_of_two_directions_is_the_exponential_of_their_entropy() -> None:
    values = np.diag([3.0, 1.0, 0.0])
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert rankme(values) == pytest.approx(expected, rel=1e-12)


def test_rankme_of_zeros_is_zero() -> None:
    assert rankme(np.zeros((5, 3))) == 0


def test_alignment_is_the_squared_distance_of_unit_rows() -> None:
    assert alignment(BASIS, 7 * BASIS) == pytest.approx(0, abs=1e-12)
    assert alignment(BASIS, -BASIS) == pytest.approx(4, rel=1e-12)
    assert alignment(BASIS, np.roll(BASIS, 1, axis=0)) == pytest.approx(2, rel=1e-12)


def test_two_opposite_points_are_as_uniform_as_two_can_be() -> None:
    assert uniformity(np.array([[2.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8, rel=1e-12)


@pytest.mark.parametrize("rows", [2, 50, 1024, 1100])
def test_uniformity_equals_a_plain_sum_over_pairs(rows: int) -> None:
    z = NOISE[:rows] / np.linalg.norm(NOISE[:rows], axis=1, keepdims=True)
    pairs = [np.exp(-2 * ((z[i] - z[i + 1 :]) ** 2).sum(axis=1)).sum() for i in range(len(z) - 1)]
    expected = math.log(sum(pairs) / (rows * (rows - 1) / 2))
    assert uniformity(NOISE[:rows]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", [relative_std, rankme, uniformity])
def test_float32_is_computed_in_float64_and_left_alone(
    metric: Callable[[np.ndarray], float],
) -> None:
    values = NOISE[:100].astype(np.float32)
    before = values.copy()
    assert metric(values) == metric(values.astype(np.float64))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("metric", [relative_std, rankme, uniformity])
def test_wrong_values_are_told(metric: Callable[[np.ndarray], float]) -> None:
    name, rows = metric.__name__, 2 if metric is uniformity else 1
    message = rf"{name}: values are \(3,\); needed is \(N, D\) with N >= {rows}"
    with pytest.raises(ValueError, match=message):
        metric(np.zeros(3))
    with pytest.raises(ValueError, match=r"values are \(0, 3\)"):
        metric(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=f"{name}: values hold NaN or infinity"):
        metric(np.array([[1.0, math.nan], [1.0, 2.0]]))


def test_cosines_are_of_both_views_of_a_record_and_of_two_records() -> None:
    a, b = NOISE[:5], NOISE[5:10]
    positives, negatives = pair_cosines(a, b)

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return sum(x * y) / math.sqrt(sum(x * x) * sum(y * y))

    expected = [[cosine(x, y) for y in b] for x in a]
    np.testing.assert_allclose(positives, np.diagonal(expected), atol=1e-14)
    others = [expected[m][n] for m in range(5) for n in range(5) if m != n]
    np.testing.assert_allclose(negatives, others, atol=1e-14)
    assert pair_cosines(BASIS, BASIS)[1] == pytest.approx(0, abs=1e-12)


def test_views_of_different_shapes_are_told() -> None:
    message = r"alignment: a is \(3, 2\) and b is \(4, 2\); both need the same shape"
    with pytest.raises(ValueError, match=message):
        alignment(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"pair_cosines: a is \(3, 2\), b is \(4, 2\)"):
        pair_cosines(np.ones((3, 2)), np.ones((4, 2)))
