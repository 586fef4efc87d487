from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from seqcl.batch import Entry, Label, Record
from seqcl.data import loading
from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.options import DataOptions
from seqcl.data.reader import Reader
from seqcl.data.store import Store
from seqcl.errors import DataError, MissingInputError
from seqcl.registry import registry

WriteTable = Callable[..., Path]


def open_(*sources: Path, extra_steps: int = 0, **options: object) -> Dataset:
    given = DataOptions(**options)  # type: ignore[arg-type]
    return open_dataset([str(source) for source in sources], given, extra_steps=extra_steps)


def test_a_missing_path_is_a_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        open_(tmp_path / "none.csv")


def test_a_series_shorter_than_the_window_is_told_with_both_numbers(
    write_table: WriteTable,
) -> None:
    path = write_table("a.csv", steps=40)
    with pytest.raises(
        DataError, match=r"a\.csv: has 40 steps, fewer than data\.window=64; set data\.window=40"
    ):
        open_(path, window=64)
    with pytest.raises(
        DataError, match=r"window=32 and the 16 steps .*; set data\.window=24 or less"
    ):
        open_(path, window=32, extra_steps=16)


def test_a_few_short_recordings_are_skipped_and_many_are_an_error(
    tmp_path: Path, write_table: WriteTable
) -> None:
    for number in range(9):
        write_table(f"{number}.csv", steps=30)
    write_table("short.csv", steps=5)
    dataset = open_(tmp_path, window=10, max_skipped=0.1)
    assert [skipped.path for skipped in dataset.skipped] == ["short.csv"]
    assert len(dataset) == 27
    with pytest.raises(
        DataError,
        match=r"short\.csv: has 5 .*\(1 of 10 recordings are too short; data\.max_skipped=0\.05",
    ):
        open_(tmp_path, window=10)


def test_corrupt_files_are_skipped_up_to_the_part_that_is_allowed(
    tmp_path: Path, write_table: WriteTable
) -> None:
    for number in range(20):
        write_table(f"{number:02}.csv")
    (tmp_path / "bad.npz").write_bytes(b"PK damaged")
    dataset = open_(tmp_path)
    assert len(dataset) == 20
    assert [skipped.path for skipped in dataset.skipped] == ["bad.npz"]
    (tmp_path / "worse.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match=r"bad\.npz.*2 of 22 files cannot be read; .*allows 5%"):
        open_(tmp_path)


def test_the_rows_of_a_window_are_longer_by_the_extra_steps(write_table: WriteTable) -> None:
    dataset = open_(write_table("a.csv", steps=50), window=10, extra_steps=5)
    assert dataset.max_length == 15
    assert dataset.spans.start.tolist() == [0, 10, 20, 30, 35]


def test_extra_steps_mean_nothing_for_whole_recordings(write_table: WriteTable) -> None:
    assert open_(write_table("a.csv", steps=5), extra_steps=16).max_length == 5


def test_a_recording_too_long_to_be_taken_whole_asks_for_a_window(write_table: WriteTable) -> None:
    path = write_table("a.csv", steps=120)
    with pytest.raises(
        DataError, match=r"a\.csv: has 120 steps, too many.*set data\.window .*max_steps=100"
    ):
        open_(path, max_steps=100)
    assert len(open_(path, max_steps=100, window=60)) == 2


def test_channels_of_different_files_are_matched_by_name(
    tmp_path: Path, write_table: WriteTable
) -> None:
    write_table("a.csv", values=[[1, 2]] * 4)
    write_table("b.csv", header="y,x", values=[[2, 1]] * 4)
    dataset = open_(tmp_path)
    assert dataset.channels == ("x", "y")
    np.testing.assert_array_equal(dataset.gather([0, 1]).values, [[[1] * 4, [2] * 4]] * 2)


def test_a_file_of_other_channels_is_named_with_what_it_lacks(
    tmp_path: Path, write_table: WriteTable
) -> None:
    write_table("a.csv")
    write_table("b.csv", header="x,z")
    with pytest.raises(DataError, match=r"b\.csv: missing channels: y; extra channels: z"):
        open_(tmp_path)
    assert open_(tmp_path, columns=("x",)).channels == ("x",)


def test_the_models_channels_choose_the_order_and_must_all_be_there(
    write_table: WriteTable,
) -> None:
    path = write_table("a.csv", values=[[1, 2]] * 4)
    dataset = open_dataset([str(path)], DataOptions(), channels=("y", "x"))
    assert dataset.record(0).values[:, 0].tolist() == [2, 1]
    with pytest.raises(DataError, match=r"a\.csv: missing channels: z"):
        open_dataset([str(path)], DataOptions(), channels=("x", "y", "z"))


def test_mixed_sampling_rates_are_an_error_that_names_both_files(tmp_path: Path) -> None:
    for name, rate in (("a", 100.0), ("b", 100.4), ("c", 50.0)):
        values = np.zeros((1, 9), dtype=np.float32)
        Store.write(tmp_path / f"{name}.h5", [Record(values, "r", rate_hz=rate)])
    assert open_(tmp_path / "[ab].h5").rate_hz == 100.0  # clocks differ a little
    with pytest.raises(DataError, match=r"b\.h5#r has 100\.4 Hz and c\.h5#r has 50 Hz; resample"):
        open_(tmp_path)


def test_files_of_one_name_in_two_sources_get_their_folder_before_it(
    tmp_path: Path, write_table: WriteTable
) -> None:
    write_table("run1/a.csv")
    write_table("run2/a.csv")
    run1, run2 = tmp_path / "run1", tmp_path / "run2"
    assert open_(run1, run2).ids == ("a.csv", f"{run2.as_posix()}/a.csv")
    assert open_(run1 / "a.csv", run2 / "a.csv").ids == ("a.csv", f"{run2.as_posix()}/a.csv")


class Slow(Reader):
    """Text of one number a line; labels windows by their first value."""

    suffixes = (".numbers",)
    reads = 0

    def scan(self, path: Path) -> Iterator[Entry]:
        self.notes.append(f"{path.name} is slow")
        yield Entry(path, path.name, len(path.read_text().split()), ("x",))

    def read(self, entry: Entry, start: int, stop: int) -> Record:
        type(self).reads += 1
        words = entry.path.read_text().split()[start:stop]
        if "bad" in words:
            raise DataError(f"{entry.path}: 'bad' is not a number")
        values = np.array([words], dtype=np.float32)
        return Record(values, entry.id, step_labels=np.arange(start, start + len(words)))

    def labels(self, entry: Entry, windows: Sequence[tuple[int, int]]) -> Sequence[Label | None]:
        words = entry.path.read_text().split()
        return [None if words[start] == "0" else words[start] for start, _ in windows]


@pytest.fixture
def slow() -> Iterator[type[Slow]]:
    registry("readers").register("slow")(Slow)
    Slow.reads = 0
    yield Slow
    del registry("readers")._local["slow"]


def test_a_reader_that_cannot_seek_reads_each_recording_once(
    tmp_path: Path, slow: type[Slow]
) -> None:
    (tmp_path / "a.numbers").write_text(" ".join(map(str, range(12))))
    dataset = open_(tmp_path, window=4)
    dataset.gather([0, 1, 2])
    assert slow.reads == 1
    assert dataset.labels == (None, "4", "8")
    assert dataset.gather([0, 1]).labels is not None
    step_labels = dataset.record(1).step_labels
    assert step_labels is not None
    assert step_labels.tolist() == [4, 5, 6, 7]
    assert dataset.notes == ("a.numbers is slow",)


def test_what_does_not_fit_in_memory_is_read_when_needed_and_told(
    tmp_path: Path, slow: type[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "MEMORY_LIMIT", 47)
    (tmp_path / "a.numbers").write_text(" ".join(map(str, range(12))))
    dataset = open_(tmp_path, window=4)
    assert slow.reads == 0
    assert dataset.gather([2]).values.tolist() == [[[8, 9, 10, 11]]]
    assert slow.reads == 1
    assert "too large for memory" in dataset.notes[1]


@pytest.mark.usefixtures("slow")
def test_a_recording_whose_values_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.numbers").write_text("1 2 bad")
    with pytest.raises(DataError, match="'bad' is not a number"):
        open_(tmp_path)
    (tmp_path / "b.numbers").write_text("1 2 3 4")
    dataset = open_(tmp_path, max_skipped=0.5)
    assert dataset.ids == ("b.numbers",)
    assert dataset.record(0).values.tolist() == [[1, 2, 3, 4]]
    assert [skipped.path for skipped in dataset.skipped] == ["a.numbers"]
    with pytest.raises(DataError, match="1 of 2 recordings cannot be read"):
        open_(tmp_path)


def test_a_file_that_lost_steps_since_its_scan_is_told(
    tmp_path: Path, slow: type[Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "MEMORY_LIMIT", 0)
    (tmp_path / "a.numbers").write_text("1 2 3 4")
    dataset = open_(tmp_path, window=2)
    (tmp_path / "a.numbers").write_text("1 2 3")
    with pytest.raises(DataError, match=r"steps 2 to 4 are \(1, 1\) where \(1, 2\) were promised"):
        dataset.gather([1])
