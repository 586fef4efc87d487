from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seqcl.data.dataset import Dataset, dataset_from_arrays, open_dataset
from seqcl.data.options import DataOptions
from seqcl.data.split import split_by_group, split_by_time
from seqcl.errors import DataError

WriteTable = Callable[..., Path]


def grouped(sizes: list[int]) -> Dataset:
    groups = [name for name, size in enumerate(sizes) for _ in range(size)]
    return dataset_from_arrays(np.zeros((sum(sizes), 1, 4)), groups=groups)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_groups_stay_whole_and_the_held_out_part_is_close_to_what_was_asked(
    fraction: float,
) -> None:
    dataset = grouped([5] * 40)
    for seed in range(5):
        rest, held = split_by_group(dataset, fraction, seed)
        assert not set(rest.groups) & set(held.groups)
        assert sorted([*rest.ids, *held.ids]) == sorted(dataset.ids)
        assert len(held) == pytest.approx(200 * fraction, abs=2.5)


def test_a_split_is_a_function_of_the_seed() -> None:
    dataset = grouped([3] * 20)
    assert split_by_group(dataset, 0.3, 1)[1].ids == split_by_group(dataset, 0.3, 1)[1].ids
    assert split_by_group(dataset, 0.3, 1)[1].ids != split_by_group(dataset, 0.3, 2)[1].ids


def test_a_group_much_larger_than_the_part_is_not_held_out() -> None:
    for seed in range(10):
        _, held = split_by_group(grouped([900, 50, 50]), 0.1, seed)
        assert 50 <= len(held) <= 100


def test_both_parts_have_a_group_however_small_the_fraction() -> None:
    for fraction in (0.01, 0.99):
        rest, held = split_by_group(grouped([10, 20]), fraction, 0)
        assert len(rest)
        assert len(held)


def test_windows_of_one_recording_stay_together(tmp_path: Path, write_table: WriteTable) -> None:
    for number in range(6):
        write_table(f"{number}.csv", steps=50)
    rest, held = split_by_group(open_dataset([str(tmp_path)], DataOptions(window=10)), 0.4, 0)
    files = [{identity.split("@")[0] for identity in part.ids} for part in (rest, held)]
    assert not files[0] & files[1]
    assert (len(rest), len(held)) == (20, 10)


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(DataError, match="#0 and all other records are one group; .* needs two"):
        split_by_group(grouped([7]), 0.5, 0)


@pytest.mark.parametrize("gap", [0, 7])
@pytest.mark.parametrize("hop", [3, 10])
def test_parts_by_time_share_no_step_and_keep_the_gap(
    tmp_path: Path, write_table: WriteTable, gap: int, hop: int
) -> None:
    write_table("a.csv", steps=100)
    write_table("b.csv", steps=60)
    dataset = open_dataset([str(tmp_path)], DataOptions(window=10, hop=hop))
    earlier, later = split_by_time(dataset, 0.3, gap)
    for recording, cut in ((0, 70), (1, 42)):
        before, after = (
            part.spans[np.flatnonzero(part.spans.recording == recording)]
            for part in (earlier, later)
        )
        assert (before.start + 10).max() <= cut
        assert after.start.min() >= cut + gap
    assert set(earlier.ids) | set(later.ids) <= set(dataset.ids)


def test_whole_recordings_cannot_be_split_by_time() -> None:
    with pytest.raises(
        DataError, match=r"leaves 0 records before and 0 after it; set data\.window"
    ):
        split_by_time(grouped([4]), 0.5, 0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, float("nan")])
def test_a_fraction_is_between_0_and_1(fraction: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        split_by_group(grouped([1, 1]), fraction, 0)
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        split_by_time(grouped([1, 1]), fraction, 0)
