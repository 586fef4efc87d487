from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seqcl.data.arrays import to_label
from seqcl.data.dataset import dataset_from_arrays
from seqcl.data.reader import observed_lengths
from seqcl.errors import DataError

NAN = float("nan")


def test_records_are_the_rows_of_the_array_and_a_copy_of_them() -> None:
    X = np.random.default_rng(0).standard_normal((4, 2, 6)).astype(np.float32)
    dataset = dataset_from_arrays(X, [3, 1, 3, 2], ["a", "b", "a", None], channels=["u", "v"])
    before = X.copy()
    for row in range(4):
        record = dataset.record(row)
        np.testing.assert_array_equal(record.values, X[row])
        record.values[:] = 0
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(dataset.gather([0, 1, 2, 3]).values, X)
    assert dataset.ids == ("#0", "#1", "#2", "#3")
    assert dataset.labels == (3, 1, 3, 2)
    assert dataset.classes == (1, 2, 3)
    assert dataset.groups == ("a", "b", "a", None)
    assert dataset.channels == ("u", "v")
    assert dataset.named


def test_steps_at_the_end_that_are_all_nan_are_padding_of_a_rectangular_array() -> None:
    X = np.array([[[1, 2, NAN, NAN], [3, NAN, NAN, NAN]], [[1, NAN, 3, 4], [NAN, 2, 3, NAN]]])
    assert observed_lengths(X).tolist() == [2, 4]
    dataset = dataset_from_arrays(X)
    assert dataset.lengths.tolist() == [2, 4]
    np.testing.assert_array_equal(dataset.record(0).values, X[0, :, :2])
    np.testing.assert_array_equal(dataset.record(1).values, X[1])
    assert dataset.channels == ("c0", "c1")
    assert not dataset.named


def test_a_list_may_hold_series_of_any_length_and_keeps_their_ends() -> None:
    series = [np.array([[1.0, 2.0, NAN]]), np.array([[5.0]])]
    dataset = dataset_from_arrays(series, ids=["long", "short"])
    assert dataset.lengths.tolist() == [3, 1]
    assert dataset.max_length == 3
    assert dataset.ids == ("long", "short")


def test_a_matrix_is_records_of_one_channel() -> None:
    dataset = dataset_from_arrays(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(dataset.record(1).values, [[3, 4, 5]])


def test_labels_become_plain_values_and_nan_is_none() -> None:
    y = np.array([1.5, NAN], dtype=np.float32)
    assert dataset_from_arrays(np.zeros((2, 1, 3)), y).labels == (1.5, None)
    assert to_label(np.int64(3)) == 3
    assert type(to_label(np.str_("a"))) is str
    assert to_label(["b", 2]) == ("b", "2")
    with pytest.raises(TypeError, match="label .* is a dict"):
        to_label({})


def test_what_is_masked_is_missing_and_tensors_may_have_a_gradient_or_be_bfloat16() -> None:
    masked = np.ma.masked_greater(np.arange(6.0).reshape(2, 1, 3), 4)
    values = dataset_from_arrays(masked).record(1).values
    assert values.tolist() == [[3.0, 4.0]]  # the last step, masked alone, is padding
    tensor = torch.ones(2, 1, 3, dtype=torch.bfloat16, requires_grad=True)
    assert (dataset_from_arrays(tensor).record(0).values == 1).all()


def test_an_empty_text_is_no_label_group_or_mark() -> None:
    texts = np.array(["a", "", "b"])
    found = dataset_from_arrays(np.zeros((3, 1, 3)), texts, texts, pairs=texts.tolist())
    assert found.classes == ("a", "b")
    assert list(found.labels) == list(found.groups) == ["a", None, "b"]
    assert found.pair_codes[1] == 0


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"X": []}, DataError, "X is empty"),
        ({"X": np.full((2, 1, 3), NAN)}, DataError, "record #0 has no observed value"),
        ({"X": [np.zeros((2, 3)), np.zeros((1, 3))]}, DataError, "#1 has 1 channels, the first 2"),
        ({"X": np.zeros((2, 1, 0))}, DataError, "record #0 has no observed value"),
        ({"X": np.zeros((2, 1, 3), complex)}, TypeError, "X is complex128; give real values"),
        ({"X": np.zeros(3)}, ValueError, r"shape \(3,\); needs numbers: \(n, C, T\)"),
        ({"X": None}, TypeError, "X is a NoneType; needs numbers"),
        ({"X": Path("a.npz")}, TypeError, "X is a .*Path; needs .*; files go to `seqcl embed"),
        ({"X": ["a.npz", "b.npz"]}, TypeError, "X holds text"),
        ({"X": np.array([["a"]])}, TypeError, "X is <U1; needs numbers"),
        ({"X": np.zeros((2, 3), "datetime64[s]")}, TypeError, "X is datetime64"),
        ({"X": np.zeros((2, 1, 3)), "y": np.zeros((2, 2))}, ValueError, r"y has shape \(2, 2\)"),
        ({"X": np.zeros((2, 1, 3)), "y": "ab"}, TypeError, "y is a str; needs a list"),
        ({"X": np.zeros((2, 1, 3)), "y": 1}, TypeError, "y is a int; needs a list"),
        ({"X": np.zeros((2, 1, 3)), "y": [np.zeros(2)] * 2}, TypeError, "label is an array"),
        ({"X": np.zeros((2, 1, 3)), "y": [1]}, ValueError, "y has 1 items for 2 records"),
        ({"X": np.zeros((2, 1, 3)), "groups": [1]}, ValueError, "groups has 1 items for 2"),
        ({"X": np.zeros((2, 1, 3)), "ids": ["a"]}, ValueError, "ids has 1 items for 2"),
        ({"X": np.zeros((2, 1, 3)), "channels": ["a", "b"]}, ValueError, "2 channel names for 1"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(
    given: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dataset_from_arrays(**given)  # type: ignore[arg-type]


def test_series_of_unequal_length_may_be_an_object_array_or_of_one_dimension() -> None:
    parts = [np.arange(3.0), np.arange(5.0)]
    objects = np.empty(2, dtype=object)
    objects[:] = [part[None] for part in parts]
    for given in (parts, objects):
        found = dataset_from_arrays(given)
        assert found.lengths.tolist() == [3, 5]
        assert np.array_equal(found.record(1).values[0], parts[1])
