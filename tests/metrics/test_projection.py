import numpy as np
import pytest

from seqcl.metrics.projection import embedding_map


@pytest.mark.parametrize("shape", [(50, 8), (8, 50), (20, 20), (3, 2)])
def test_equals_the_scores_of_the_full_decomposition(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    centred = values - values.mean(axis=0)
    left, spectrum, rows = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(rows[np.arange(2), np.abs(rows[:2]).argmax(axis=1)])
    expected = left[:, :2] * spectrum[:2] * signs
    # The Gram matrix squares the condition number: half of the 16 digits remain.
    assert np.abs(embedding_map(values) - expected).max() < 1e-8 * spectrum[0]


def test_plane_of_the_data_is_found_exactly() -> None:
    plane = np.random.default_rng(0).normal(size=(40, 2)) * [5.0, 1.0]
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(30, 2)))[0]
    points = embedding_map(plane @ axes.T + 7)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    expected = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    assert np.abs(distances - expected).max() < 1e-7  # half of the digits, as above


def test_sign_does_not_depend_on_the_order_of_the_records() -> None:
    values = np.random.default_rng(0).normal(size=(60, 5))
    order = np.random.default_rng(1).permutation(60)
    assert np.abs(embedding_map(values[order]) - embedding_map(values)[order]).max() < 1e-8


def test_float32_input_is_left_untouched() -> None:
    values = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    before = values.copy()
    assert embedding_map(values).dtype == np.float64
    assert (values == before).all()


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        (np.zeros((5, 3)), [False, False]),
        (np.ones((1, 3)), [False, False]),
        (np.arange(6.0)[:, None], [True, False]),
        (np.outer(np.arange(6.0), np.ones(9)), [True, False]),
    ],
)
def test_missing_directions_are_zero(values: np.ndarray, spread: list[bool]) -> None:
    points = embedding_map(values)
    assert points.shape == (len(values), 2)
    assert points.any(axis=0).tolist() == spread


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
def test_no_values_give_points_at_the_origin(shape: tuple[int, int]) -> None:
    assert embedding_map(np.zeros(shape)).tolist() == [[0.0, 0.0]] * shape[0]


def test_wrong_shapes_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match=r"values are \(3,\); needed is \(N, D\)"):
        embedding_map(np.zeros(3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        embedding_map(np.array([[1.0, np.nan]]))
