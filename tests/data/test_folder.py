from __future__ import annotations

from pathlib import Path

import pytest

from seqcl.data.folder import Found, find_files
from seqcl.errors import DataError, MissingInputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n1\n")


def find(path: Path | str) -> list[Found]:
    return find_files(str(path), lambda file: file.suffix == ".csv")


def ids(path: Path | str) -> list[str]:
    return [found.id for found in find(path)]


def test_a_folder_is_walked_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    touch(tmp_path, "README.csv", "a/LICENSE.csv")
    touch(
        tmp_path, "b.csv", "a/2.csv", "a/1.csv", ".hidden.csv", ".git/x.csv", "notes.txt", "c/x.csv"
    )
    assert ids(tmp_path) == ["b.csv", "a/1.csv", "a/2.csv", "c/x.csv"]


def test_a_file_that_is_named_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt", ".hidden")
    assert ids(tmp_path / "notes.txt") == ["notes.txt"]
    assert ids(tmp_path / ".hidden") == [".hidden"]


def test_ids_of_a_glob_are_relative_to_what_comes_before_the_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "run1/a.csv", "run2/a.csv", "other/a.csv")
    assert ids(tmp_path / "run*" / "*.csv") == ["run1/a.csv", "run2/a.csv"]
    assert ids(tmp_path / "**" / "*.csv") == ["other/a.csv", "run1/a.csv", "run2/a.csv"]


def test_a_pattern_in_the_name_of_a_real_file_is_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].csv", "a1.csv")
    assert ids(tmp_path / "a[1].csv") == ["a[1].csv"]


def test_a_missing_path_is_told_with_a_near_name(tmp_path: Path) -> None:
    touch(tmp_path, "sensor_7.csv")
    with pytest.raises(
        MissingInputError, match=r"sensor7.csv: no such file.*Did you mean '.*sensor_7"
    ):
        find(tmp_path / "sensor7.csv")
    with pytest.raises(MissingInputError, match="does not exist either"):
        find(tmp_path / "none" / "x.csv")
    with pytest.raises(MissingInputError, match="no file matches"):
        find(tmp_path / "*.parquet")


def test_a_path_that_may_not_be_seen_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(MissingInputError, match="cannot be read: Permission denied"):
        find(tmp_path / "x.csv")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "outside/secret.csv", "data/a.csv")
    (tmp_path / "data" / "b.csv").symlink_to(tmp_path / "outside" / "secret.csv")
    with pytest.raises(DataError, match=r"b\.csv: is a link that leads out of .*data; copy"):
        find(tmp_path / "data")
    (tmp_path / "data" / "b.csv").unlink()
    (tmp_path / "data" / "more").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="more: is a link that leads out"):
        find(tmp_path / "data")


def test_a_link_to_the_folder_itself_and_links_inside_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.csv")
    (tmp_path / "data" / "b.csv").symlink_to("a.csv")
    (tmp_path / "link").symlink_to("data")
    assert ids(tmp_path / "link") == ["a.csv", "b.csv"]


def test_a_file_lies_in_a_sub_folder_that_may_label_it(tmp_path: Path) -> None:
    touch(tmp_path, "walk/1.csv", "walk/2.csv", "run/day1/1.csv")
    assert [(found.id, found.folder) for found in find(tmp_path)] == [
        ("run/day1/1.csv", "run"),
        ("walk/1.csv", "walk"),
        ("walk/2.csv", "walk"),
    ]


@pytest.mark.parametrize("names", [("walk/1.csv", "2.csv"), ("all/1.csv", "all/2.csv")])
def test_a_folder_that_tells_nothing_apart_labels_nothing(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    touch(tmp_path, *names)
    assert all(found.folder is None for found in find(tmp_path))


def test_labels_csv_labels_files_and_is_not_data(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.csv", "b/2.csv", "b/3.csv")
    (tmp_path / "labels.csv").write_text("file,label,group\na/1.csv,5,anna\nb/2.csv,,bert\n")
    assert find(tmp_path) == [
        Found(tmp_path / "a/1.csv", "a/1.csv", 5, "anna"),
        Found(tmp_path / "b/2.csv", "b/2.csv", None, "bert"),
        Found(tmp_path / "b/3.csv", "b/3.csv"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name,label\na,1\n",
            r"labels.csv:1: header is 'name,label'; needed: file, and label, group, pair or split",
        ),
        ("file\na.csv\n", "needed: file, and label, group, pair or split"),
        ("", "header is ''"),
        ("file,label\na.csv,1\na.csv\n", r"labels.csv:3: needs 2 fields"),
        ("file,label\na.csv,1,2\n", r"labels.csv:2: needs 2 fields"),
        ("file,label\na.csv,1\na.csv,2\n", r"labels.csv:3: file 'a.csv' is listed twice"),
        ("file,label\n../a.csv,1\n", r"labels.csv:2: file '../a.csv' must be a path inside"),
        ("file,label\n/etc/passwd,1\n", "must be a path inside this folder"),
        ("file,label\nb.csv,1\n", r"labels.csv:2: file 'b.csv' is not there"),
        ("file,label\n\xff\xfe", "is not a CSV file in UTF-8"),
    ],
)
def test_a_faulty_labels_csv_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.csv")
    (tmp_path / "labels.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        find(tmp_path)


def test_labels_that_are_not_all_whole_numbers_stay_text(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "b.csv")
    (tmp_path / "labels.csv").write_text("\ufefffile,label\na.csv,-3\nb.csv,four\n", "utf-8")
    assert [found.label for found in find(tmp_path)] == ["-3", "four"]
