from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seqcl.batch import Record
from seqcl.data.dataset import Dataset, dataset_from_arrays, open_dataset
from seqcl.data.options import DataOptions
from seqcl.data.store import Store
from seqcl.errors import DataError

WriteTable = Callable[..., Path]
LENGTHS = (17, 40, 23)


@pytest.fixture
def series() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = [rng.standard_normal((2, length)).astype(np.float32) for length in LENGTHS]
    found[1][0, 5:9] = np.nan
    return found


@pytest.fixture(params=["memory", "files"])
def windowed(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    series: list[np.ndarray],
    write_table: WriteTable,
) -> Dataset:
    """The same three recordings in windows of 8 every 5, kept in memory or read from disk."""
    if request.param == "memory":
        for number, part in enumerate(series):
            write_table(f"{number}.csv", values=part.T)
        source = tmp_path / "*.csv"
    else:
        records = [
            Record(part, f"{number}", number, channels=("x", "y"))
            for number, part in enumerate(series)
        ]
        Store.write(tmp_path / "a.h5", records)
        source = tmp_path / "a.h5"
    return open_dataset([str(source)], DataOptions(window=8, hop=5))


def starts(length: int) -> list[int]:
    return sorted({*range(0, length - 7, 5), length - 8})


def test_windows_hold_the_steps_of_their_recording(
    windowed: Dataset, series: list[np.ndarray]
) -> None:
    expected = [
        (part[:, start : start + 8], recording, start)
        for recording, part in enumerate(series)
        for start in starts(part.shape[1])
    ]
    assert len(windowed) == len(expected)
    rows = windowed.gather(np.arange(len(windowed)))
    assert rows.start is not None
    for row, (values, _, start) in enumerate(expected):
        # 1e-5: the CSV file keeps six digits
        np.testing.assert_allclose(rows.values[row], values, atol=1e-5)
        np.testing.assert_allclose(windowed.record(row).values, values, atol=1e-5)
        assert rows.start[row] == windowed.record(row).start == start
        assert windowed.ids[row].endswith(f"@{start}")
        assert windowed.record(row).id == windowed.ids[row]


def test_rows_may_come_in_any_order_and_twice(windowed: Dataset) -> None:
    order = np.array([9, 0, 9, 4])
    whole = windowed.gather(np.arange(len(windowed)))
    np.testing.assert_array_equal(windowed.gather(order).values, whole.values[order])


def test_an_excerpt_holds_any_steps_of_a_recording(windowed: Dataset) -> None:
    span = windowed.spans
    row = len(windowed) - 1
    recording, start = int(span.recording[row]), int(span.start[row])
    found = windowed.excerpt(recording, start - 1, start + 3)
    np.testing.assert_array_equal(found.values[:, 1:], windowed.record(row).values[:, :3])
    assert (found.start, found.id) == (start - 1, windowed.recordings.ids[recording])


def test_a_subset_is_the_dataset_of_its_rows(windowed: Dataset) -> None:
    part = windowed.subset([7, 2, 5]).subset([2, 0])
    assert len(part) == 2
    assert part.ids == (windowed.ids[5], windowed.ids[7])
    assert part.labels == (windowed.labels[5], windowed.labels[7])
    np.testing.assert_array_equal(part.gather([0, 1]).values, windowed.gather([5, 7]).values)
    assert part.classes == windowed.classes
    with pytest.raises(IndexError, match="rows 2 to 2 of 2 records"):
        part.record(2)
    with pytest.raises(IndexError):
        windowed.gather([-1])


def test_channels_are_selected_by_name(windowed: Dataset) -> None:
    part = windowed.select(("y", "x"))
    assert part.channels == part.record(0).channels == ("y", "x")
    np.testing.assert_array_equal(part.gather([3]).values, windowed.gather([3]).values[:, ::-1])
    np.testing.assert_array_equal(
        part.select(("x", "y")).record(3).values, windowed.record(3).values
    )
    with pytest.raises(DataError, match="missing channels: z; extra channels: y; needed: x, z"):
        windowed.select(("x", "z"))


def test_a_dataset_pickles_with_its_values_or_the_way_to_them(windowed: Dataset) -> None:
    copy = pickle.loads(pickle.dumps(windowed))
    np.testing.assert_array_equal(copy.gather([1, 8]).values, windowed.gather([1, 8]).values)
    assert copy.fingerprint == windowed.fingerprint


def test_pieces_show_each_covered_step_once(windowed: Dataset, series: list[np.ndarray]) -> None:
    chosen = windowed.subset([0, 1, 4, 5, 11])  # overlapping windows of two recordings
    for dataset, count in ((windowed, sum(LENGTHS)), (chosen, 13 + 13 + 8)):
        steps = [
            (recording, start + k)
            for span, values in dataset.pieces()
            for recording, start, length, row in zip(
                span.recording, span.start, span.length, values, strict=True
            )
            for k in range(length)
            if np.allclose(row[1, k], series[recording][1, start + k], atol=1e-5)
        ]
        assert len(steps) == len(set(steps)) == count


def test_pieces_are_of_bounded_size() -> None:
    dataset = dataset_from_arrays([np.zeros((300, 9_000)), np.ones((300, 5))])
    sizes = [values.size for _, values in dataset.pieces()]
    assert len(sizes) == 4
    assert max(sizes) <= 300 * 4_096


def test_the_fingerprint_changes_with_anything_that_training_would_notice() -> None:
    X = np.random.default_rng(0).standard_normal((5, 2, 9))
    changed = X.copy()
    changed[3, 1, 4] += 1e-3
    base = dataset_from_arrays(X, [0, 1, 0, 1, 0])
    others = [
        dataset_from_arrays(changed, [0, 1, 0, 1, 0]),
        dataset_from_arrays(X, [0, 1, 0, 1, 1]),
        dataset_from_arrays(X, [0, 1, 0, 1, 0], ids=list("abcde")),
        dataset_from_arrays(X, [0, 1, 0, 1, 0], channels=["u", "v"]),
        dataset_from_arrays(X[:, :, :8], [0, 1, 0, 1, 0]),
        base.subset([0, 1, 2]),
        base.subset([1, 0, 2, 3, 4]),
    ]
    assert base.fingerprint == dataset_from_arrays(X, [0, 1, 0, 1, 0]).fingerprint
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 8


def test_a_recording_without_group_is_a_group_of_its_own() -> None:
    dataset = dataset_from_arrays(np.zeros((4, 1, 3)), groups=["b", None, "b", None])
    assert dataset.group_codes.tolist() == [0, 2, 0, 4]
    assert dataset.gather([0, 1]).groups is not None
    whole = dataset_from_arrays(np.zeros((2, 1, 3))).gather([0])
    assert whole.groups is whole.recordings is None


def test_windows_without_a_group_have_that_of_their_recording(windowed: Dataset) -> None:
    rows = windowed.gather(np.arange(len(windowed)))
    assert rows.groups is not None
    assert rows.recordings is not None
    np.testing.assert_array_equal(rows.recordings, windowed.spans.recording)
    np.testing.assert_array_equal(rows.groups, windowed.group_codes)


def test_notes_are_kept_by_who_was_told() -> None:
    dataset = dataset_from_arrays(np.zeros((2, 1, 3)))
    part = dataset.subset([0])
    part.note("two sensors are stuck")
    assert part.notes == ("two sensors are stuck",)
    assert dataset.notes == ()
    assert repr(part) == "Dataset(1 records, 1 channels)"
