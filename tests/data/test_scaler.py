from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seqcl.data.dataset import dataset_from_arrays, open_dataset
from seqcl.data.options import DataOptions, Scaling
from seqcl.data.scaler import Scaler
from seqcl.data.statistics import channel_statistics
from seqcl.errors import DataError

WriteTable = Callable[..., Path]
NAN = float("nan")


def gappy(n: int = 12, channels: int = 3, steps: int = 40, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, channels, steps)) * [[1], [50], [1e-3]] + [[0], [1e4], [-2]]
    X[rng.random(X.shape) < 0.2] = np.nan
    return X.astype(np.float32)


def test_statistics_are_those_of_all_observed_values_at_once() -> None:
    X = gappy()
    found = channel_statistics(dataset_from_arrays(X))
    exact = X.astype(np.float64)
    np.testing.assert_allclose(found.mean, np.nanmean(exact, axis=(0, 2)), rtol=1e-12)
    # 1e-9: squares of a mean of 1e4 are added up in float64
    np.testing.assert_allclose(found.std, np.nanstd(exact, axis=(0, 2)), rtol=1e-9)
    assert found.count.tolist() == (~np.isnan(X)).sum(axis=(0, 2)).tolist()
    assert not found.constant.any()


def test_blocks_of_any_size_are_merged_to_the_same_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = dataset_from_arrays(gappy())
    whole = channel_statistics(dataset)
    monkeypatch.setattr("seqcl.data.dataset._PIECE_STEPS", 7)
    monkeypatch.setattr("seqcl.data.dataset._PIECE_VALUES", 50)
    small = channel_statistics(dataset)
    # 1e-12: another order of float64 sums
    np.testing.assert_allclose(small.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(small.std, whole.std, rtol=1e-10)
    assert small.steps == whole.steps == 480


def test_overlapping_windows_do_not_weigh_their_steps_twice(write_table: WriteTable) -> None:
    values = np.arange(20.0)[:, None]
    path = write_table("a.csv", header="x", values=values)
    scaler = Scaler(1)
    scaler.fit(open_dataset([str(path)], DataOptions(window=10, hop=1)))
    assert scaler.mean.item() == pytest.approx(9.5)
    assert scaler.std.item() == pytest.approx(values.std())


def test_channel_scaling_gives_mean_0_and_deviation_1_and_keeps_nan() -> None:
    X = gappy()
    scaler = Scaler(3)
    scaler.fit(dataset_from_arrays(X))
    scaled = scaler(torch.from_numpy(X)).numpy()
    assert (np.isnan(scaled) == np.isnan(X)).all()
    np.testing.assert_allclose(np.nanmean(scaled, axis=(0, 2)), 0, atol=2e-4)  # 1e4 in float32
    np.testing.assert_allclose(np.nanstd(scaled, axis=(0, 2)), 1, atol=2e-4)


def test_statistics_come_from_the_training_part_alone() -> None:
    X = np.stack([np.zeros((1, 8)), np.full((1, 8), 100.0)]) + np.arange(8) % 2
    scaler = Scaler(1)
    scaler.fit(dataset_from_arrays(X).subset([0]))
    assert scaler.mean.item() == 0.5


def test_record_scaling_is_the_plain_loop_over_observed_steps() -> None:
    X = gappy()
    X[2, 1] = np.nan
    scaler = Scaler(3, mode="record")
    scaled = scaler(torch.from_numpy(X)).numpy()
    for row in range(len(X)):
        for channel in range(3):
            series = X[row, channel].astype(np.float64)
            if np.isnan(series).all():
                expected = series
            else:
                expected = (series - np.nanmean(series)) / np.nanstd(series)
            # 5e-3: the mean of 1e4 leaves 1e-3 of float32 against a deviation of 50, and the
            # deviation 1e-3 around -2 leaves 2e-7 / 1e-3
            np.testing.assert_allclose(scaled[row, channel], expected, atol=5e-3)


def test_record_scaling_does_not_see_padding_or_neighbours() -> None:
    X = torch.from_numpy(gappy())
    padded = torch.cat((X, torch.full((12, 3, 9), NAN)), dim=-1)
    scaler = Scaler(3, mode="record")
    torch.testing.assert_close(scaler(padded)[:, :, :40], scaler(X), equal_nan=True)
    torch.testing.assert_close(scaler(X[3:4]), scaler(X)[3:4], equal_nan=True)


@pytest.mark.parametrize("mode", ["channel", "record", "none"])
def test_a_constant_channel_is_centred_and_told(mode: Scaling) -> None:
    X = np.random.default_rng(0).standard_normal((4, 2, 30)).astype(np.float32)
    X[:, 1] = 0.1
    dataset = dataset_from_arrays(X, channels=["x", "valve"])
    scaler = Scaler(2, mode=mode)
    scaler.fit(dataset)
    assert dataset.notes == ("channel 'valve' is 0.1 throughout; it carries no information",)
    scaled = scaler(torch.from_numpy(X))[:, 1]
    assert scaled.abs().max() <= (0.2 if mode == "none" else 1e-6)
    assert scaler.std[1] == 1


def test_no_scaling_leaves_the_values_alone() -> None:
    X = torch.from_numpy(gappy())
    scaler = Scaler(3, mode="none")
    scaler.fit(dataset_from_arrays(X.numpy()))
    torch.testing.assert_close(scaler(X), X, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["channel", "record", "none"])
def test_a_channel_without_any_value_is_named_with_its_rows(mode: Scaling) -> None:
    X = np.ones((3, 3, 5), dtype=np.float32)
    X[:, 1] = np.nan
    dataset = dataset_from_arrays(X, ids=["pump7", "b", "c"], channels=["p", "flow", "t"])
    with pytest.raises(
        DataError,
        match=r"pump7: channel 'flow' is missing in all 15 rows .*data\.columns=\[p,t\], or set "
        r"data\.missing=hold",
    ):
        Scaler(3, mode=mode).fit(dataset)


def test_with_hold_a_channel_without_any_value_is_allowed() -> None:
    X = np.ones((3, 2, 5), dtype=np.float32)
    X[:, 1] = np.nan
    dataset = dataset_from_arrays(X, missing="hold")
    scaler = Scaler(2)
    scaler.fit(dataset)
    assert (scaler.mean[1], scaler.std[1]) == (0, 1)
    assert "channel 'c1' has no value at all" in " ".join(dataset.notes)


def test_an_infinite_value_is_named_with_its_record_and_step() -> None:
    X = np.zeros((3, 2, 5), dtype=np.float32)
    X[1, 1, 3] = np.inf
    with pytest.raises(
        DataError, match=r"#1: channel 'c1' is infinite, or beyond float32, at step 3; correct it"
    ):
        Scaler(2).fit(dataset_from_arrays(X))


def test_statistics_are_state_and_the_input_is_left_as_it_is() -> None:
    X = gappy()
    before = X.copy()
    scaler, other = Scaler(3), Scaler(3)
    scaler.fit(dataset_from_arrays(X))
    other.load_state_dict(scaler.state_dict())
    torch.testing.assert_close(
        other(torch.from_numpy(X)), scaler(torch.from_numpy(X)), equal_nan=True
    )
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("factor", [1e20, 1e37, 1e-20, 1e-30])
def test_record_scaling_holds_for_any_size_of_values(factor: float) -> None:
    X = torch.randn(4, 2, 30, generator=torch.Generator().manual_seed(0))
    scaler = Scaler(2, mode="record")
    torch.testing.assert_close(scaler((X.double() * factor).float()), scaler(X))


def test_a_record_that_drowns_all_others_is_told() -> None:
    X = np.random.default_rng(0).standard_normal((12, 2, 30)).astype(np.float32)
    X[3, 1] *= 1e30
    dataset = dataset_from_arrays(X, channels=["x", "flow"])
    Scaler(2).fit(dataset)
    (note,) = dataset.notes
    assert "channel 'flow' deviates by 4e+29 over all data and by 1 in a typical record" in note
    assert "data.scaler=record" in note


@pytest.mark.parametrize("mode", ["channel", "record", "none"])
def test_data_that_is_constant_everywhere_is_refused(mode: Scaling) -> None:
    dataset = dataset_from_arrays(np.full((3, 2, 8), 7.0, dtype=np.float32))
    with pytest.raises(DataError, match="every channel is constant .* told apart"):
        Scaler(2, mode=mode).fit(dataset)
