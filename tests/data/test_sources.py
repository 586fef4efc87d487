from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from seqcl.data.options import DataOptions
from seqcl.data.reader import Columns, Reader
from seqcl.data.sources import FileSource, make_source, reader_name, reader_suffixes
from seqcl.errors import DataError, MissingInputError, UsageError
from seqcl.registry import registry

WriteTable = Callable[..., Path]


def scan(source: FileSource) -> list[str]:
    return [entry.id for _, entry in source.entries()]


def files(path: Path | str, reader: str | None = None) -> FileSource:
    return FileSource(str(path), Columns(), reader)


def test_ids_begin_with_the_path_inside_the_folder(tmp_path: Path, write_table: WriteTable) -> None:
    write_table("b/one.csv")
    np.savez(tmp_path / "many.npz", X=np.zeros((2, 1, 5)), y=[1, 2])
    assert scan(files(tmp_path)) == ["many.npz#0", "many.npz#1", "b/one.csv"]


def test_the_folders_labels_win_over_the_files_and_theirs_over_the_sub_folders(
    tmp_path: Path,
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "1.npz", X=np.zeros((1, 1, 5)), y=[7])
        np.savez(tmp_path / folder / "2.npz", X=np.zeros((1, 1, 5)))
    assert [entry.label for _, entry in files(tmp_path).entries()] == [7, "a", 7, "b"]
    (tmp_path / "labels.csv").write_text("file,label,group\na/1.npz,9,anna\n")
    entries = [entry for _, entry in files(tmp_path).entries()]
    assert [entry.label for entry in entries] == [9, None, 7, None]
    assert entries[0].group == "anna"


def test_a_corrupt_file_in_a_folder_is_skipped_with_its_reason(
    tmp_path: Path, write_table: WriteTable
) -> None:
    write_table("a.csv")
    (tmp_path / "b.npz").write_bytes(b"no archive")
    source = files(tmp_path)
    assert scan(source) == ["a.csv"]
    (skipped,) = source.skipped
    assert skipped.path == "b.npz"
    assert str(tmp_path / "b.npz") in skipped.reason


def test_the_only_file_given_raises_its_error(tmp_path: Path) -> None:
    (tmp_path / "b.npz").write_bytes(b"no archive")
    for path in (tmp_path, tmp_path / "b.npz", tmp_path / "*.npz"):
        with pytest.raises(DataError, match=r"b\.npz"):
            scan(files(path))


def test_the_split_of_a_folder_is_no_scheme(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pumps"
    folder.mkdir()
    for name in ("a", "b"):
        np.savez(folder / f"{name}.npz", X=np.zeros((1, 1, 4)))
    (folder / "labels.csv").write_text("file,split\na.npz,train\nb.npz,test\n")
    source = make_source("pumps:test", DataOptions())
    assert [entry.id for _, entry in source.entries()] == ["b.npz"]
    (tmp_path / "c:d").mkdir()
    assert make_source("c:d", DataOptions()).name == "c:d"


def test_a_folder_without_data_is_an_error_that_tells_the_suffixes(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(
        DataError, match=r"no data file in there; known suffixes: .*\.csv .*data.reader"
    ):
        scan(files(tmp_path))


def test_a_file_of_unknown_suffix_needs_a_reader_by_name(tmp_path: Path) -> None:
    path = tmp_path / "log.dat"
    path.write_text("x,y\n1,2\n3,4\n")
    with pytest.raises(
        DataError, match=r"log\.dat: no reader for this suffix; known: .*data\.reader"
    ):
        scan(files(path))
    assert scan(files(path, "table")) == ["log.dat"]


def test_a_file_that_may_not_be_read_is_a_missing_input(
    tmp_path: Path, write_table: WriteTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = write_table("a.csv"), write_table("b.csv")
    opened = Path.open

    def refuse(self: Path, *mode: str, **options: str) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MissingInputError, match=r"a\.csv: cannot be read: Permission denied"):
        scan(files(path))
    source = files(tmp_path)
    assert scan(source) == [other.name]
    assert "Permission denied" in source.skipped[0].reason


def test_the_longest_suffix_chooses_the_reader() -> None:
    suffixes = list(reader_suffixes())
    assert suffixes == sorted(suffixes, key=lambda suffix: (-len(suffix), suffix))
    assert reader_name(Path("X.CSV.GZ")) == "table"
    assert reader_name(Path("a.npz")) == "npz"
    assert reader_name(Path("a.unknown")) is None


def test_a_scheme_makes_a_source_of_that_name_and_a_path_a_file_source(tmp_path: Path) -> None:
    options = DataOptions(reader="table")
    for text in ("a.csv", "C:/data", "file:a.csv", "data/x:y.csv"):
        assert isinstance(make_source(text, options), FileSource)
    assert make_source("file:a.csv", options).name == "a.csv"
    assert not isinstance(make_source("aeon:BasicMotions", options), FileSource)
    with pytest.raises(UsageError, match=r"unknown name 'eaon'\. Did you mean 'aeon'"):
        make_source("eaon:BasicMotions", options)


def test_a_file_whose_name_looks_like_a_scheme_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aeon:x.csv").write_text("x\n1\n")
    assert isinstance(make_source("aeon:x.csv", DataOptions()), FileSource)


@pytest.fixture
def other_readers() -> Iterator[None]:
    """A plugin that claims a built-in's suffix and its own, and one that cannot be loaded."""
    readers = registry("readers")

    class Greedy(Reader):
        suffixes = (".csv", ".greedy")

    readers.register("greedy")(Greedy)
    readers.plugins["broken"] = EntryPoint("broken", "no_such_package:Reader", "seqcl.readers")
    yield
    del readers._local["greedy"]
    del readers.plugins["broken"]


@pytest.mark.usefixtures("other_readers")
def test_a_built_in_keeps_its_suffix_and_a_broken_plugin_hurts_nobody() -> None:
    assert reader_name(Path("a.csv")) == "table"
    assert reader_name(Path("a.greedy")) == "greedy"
