"""``labels.csv``: the label, group, pair mark and split of each file of a folder."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from seqcl.batch import Label
from seqcl.data.reader import Columns
from seqcl.errors import DataError, did_you_mean

__all__ = ["LABELS_NAME", "Known", "read_labels"]

LABELS_NAME = "labels.csv"


Known = tuple[Label | None, str | None, str | None, str | None]
"""Label, group, pair mark and split."""


def read_labels(
    path: Path,
    columns: Columns = Columns(),  # noqa: B008 - Columns is frozen
    *,
    strict: bool = False,
) -> dict[str, Known]:
    """Return what is known of each file, named relative to the folder of `path`.

    The header is ``file`` with ``label``, ``group``, ``pair``, ``split``, or the names that
    `columns` asks for in their place; an empty field is None. Labels are int where all of them are
    whole numbers, text otherwise. A name that is asked for and not there is one of the files' own,
    unless `strict` says that they have none.

    Raises DataError(``path:line: ...``) for a ragged row, a file twice, a file that is not there
    or that leaves the folder, or a missing column.
    """
    rows: dict[str, tuple[str, str | None, str | None, str | None]] = {}
    asked = {"label": columns.label, "group": columns.group, "pair": columns.pair}
    asked["split"] = columns.splits
    header = _header(path)
    names = {role: name for role, name in asked.items() if name in header}
    for role, name in asked.items():
        if strict and name is not None and name not in header:
            raise DataError(
                f"{path}:1: has no column {name!r}, asked for by data.{role}."
                f"{did_you_mean(name, header)}"
            )
    if "file" not in header or not {*asked, *names.values()} & set(header):
        raise DataError(
            f"{path}:1: header is {','.join(header)!r}; needed: file, and "
            "label, group, pair or split, or other names by data.label, data.group, data.split"
        )
    for line, row in _rows(path):
        name = row["file"]
        _check(path, line, name)
        if name in rows:
            raise DataError(f"{path}:{line}: file {name!r} is listed twice; keep one row")
        marks = [row.get(names.get(role, role)) or None for role in ("group", "pair", "split")]
        rows[name] = (row.get(names.get("label", "label"), ""), marks[0], marks[1], marks[2])
    convert = int if _whole([label for label, *_ in rows.values() if label]) else str
    return {
        name: (convert(label) if label else None, group, pair, split)
        for name, (label, group, pair, split) in rows.items()
    }


def _header(path: Path) -> list[str]:
    with _opened(path) as reader:
        return list(reader.fieldnames or [])


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with _opened(path) as reader:
        for row in reader:
            if None in row or None in row.values():
                count = len(reader.fieldnames or [])
                raise DataError(f"{path}:{reader.line_num}: needs {count} fields")
            yield reader.line_num, row


@contextmanager
def _opened(path: Path) -> Iterator[csv.DictReader[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield csv.DictReader(file, strict=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV file in UTF-8: {error}") from None


def _check(path: Path, line: int, name: str) -> None:
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts:
        raise DataError(f"{path}:{line}: file {name!r} must be a path inside this folder")
    if not (path.parent / name).is_file():
        raise DataError(f"{path}:{line}: file {name!r} is not there; correct or drop the row")


def _whole(labels: list[str]) -> bool:
    return all(label.removeprefix("-").isdecimal() and label.isascii() for label in labels)
