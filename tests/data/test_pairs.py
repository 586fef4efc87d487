"""Pair marks on their way from files and arrays to batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import Dataset, dataset_from_arrays, open_dataset
from seqcl.data.options import DataOptions
from seqcl.data.scaler import Scaler
from seqcl.errors import DataError

MARKS = ["b", "", "!a", "b", "!a"]
NUMBERS = [2, 0, -1, 2, -1]


def batch_pairs(dataset: Dataset) -> list[int]:
    collate = Collate(Scaler(1, mode="none"))
    batch = collate_rows(dataset, range(len(dataset)), collate)
    assert batch.pairs is not None
    again = collate(dataset.records(range(len(dataset))), pairs=("!a", "b"))
    assert again.pairs is not None
    assert again.pairs.tolist() == batch.pairs.tolist()
    return batch.pairs.tolist()


def archive(folder: Path, **arrays: object) -> str:
    np.savez(folder / "a.npz", X=np.ones((5, 1, 8)), **arrays)  # type: ignore[arg-type]
    return str(folder / "a.npz")


def test_arrays_carry_marks_and_a_leading_exclamation_mark_is_negative() -> None:
    dataset = dataset_from_arrays(np.ones((5, 1, 8)), pairs=[mark or None for mark in MARKS])
    assert dataset.pair_codes.tolist() == NUMBERS
    assert [record.pair for record in dataset.records(range(5))] == ["b", None, "!a", "b", "!a"]
    assert batch_pairs(dataset) == NUMBERS
    assert dataset.subset([3, 2]).pair_codes.tolist() == [2, -1]


@pytest.mark.parametrize(("name", "option"), [("pairs", None), ("same", "same")])
def test_an_archive_carries_marks(tmp_path: Path, name: str, option: str | None) -> None:
    path = archive(tmp_path, **{name: np.array(MARKS)})
    assert batch_pairs(open_dataset([path], DataOptions(pair=option))) == NUMBERS


def test_labels_csv_carries_marks(tmp_path: Path) -> None:
    for name in "vwxyz":
        np.save(tmp_path / f"{name}.npy", np.ones((1, 1, 8)))
    rows = [f"{name}.npy,{mark}" for name, mark in zip("vwxyz", MARKS, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,pair", *rows]) + "\n")
    dataset = open_dataset([str(tmp_path)], DataOptions())
    assert batch_pairs(dataset) == NUMBERS
    assert list(dataset.labels) == [None] * 5


def test_windows_of_a_recording_bear_its_mark() -> None:
    from seqcl.data.arrays import arrays_to_memory
    from seqcl.data.windows import Windows

    recordings, values, _ = arrays_to_memory(np.ones((2, 1, 8)), None, None, None, ["a", "a"])
    dataset = Dataset(
        recordings, Windows(recordings.lengths, 4, 4), values, channels=("x",), named=False
    )
    assert dataset.pair_codes.tolist() == [1, 1, 1, 1]


def test_no_marks_are_no_pairs() -> None:
    dataset = dataset_from_arrays(np.ones((3, 1, 8)))
    assert dataset.pair_codes.tolist() == [0, 0, 0]
    assert collate_rows(dataset, [0, 1], Collate(Scaler(1, mode="none"))).pairs is None


def test_marks_that_are_asked_for_and_nowhere_are_an_error(tmp_path: Path) -> None:
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.ones((1, 1, 8)))
    with pytest.raises(DataError, match="no recording has a pair mark, asked for by data.pair=p"):
        open_dataset([str(tmp_path)], DataOptions(pair="p"))
    with pytest.raises(DataError, match="has no array 'p'; found: X"):
        open_dataset([archive(tmp_path)], DataOptions(pair="p"))
    with pytest.raises(DataError, match=r"X is \(5, 1, 8\) and pairs \(2,\); needed: \(5,\)"):
        open_dataset([archive(tmp_path, pairs=np.array(["a", "a"]))], DataOptions())


def test_the_fingerprint_tells_other_marks_and_groups_apart() -> None:
    X = np.ones((3, 1, 8))
    made = [
        dataset_from_arrays(X),
        dataset_from_arrays(X, pairs=["a", "a", None]),
        dataset_from_arrays(X, pairs=["!a", "!a", None]),
        dataset_from_arrays(X, pairs=["a", None, "a"]),
        dataset_from_arrays(X, groups=["a", "a", "b"]),
        dataset_from_arrays(X, groups=["a", "b", "b"]),
    ]
    assert len({dataset.fingerprint for dataset in made}) == len(made)
