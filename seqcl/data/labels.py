"""``labels.csv``: the label, group, pair mark and split of each file of a folder."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from seqcl.batch import Label
from seqcl.errors import DataError

__all__ = ["LABELS_NAME", "Known", "read_labels"]

LABELS_NAME = "labels.csv"


Known = tuple[Label | None, str | None, str | None, str | None]
"""Label, group, pair mark and split."""


def read_labels(path: Path) -> dict[str, Known]:
    """Return what is known of each file, named relative to the folder of `path`.

    The header is ``file`` with ``label``, ``group``, ``pair``, ``split``; an empty field is None.
    Labels are int where all of them are whole numbers, text otherwise.

    Raises DataError(``path:line: ...``) for a ragged row, a file twice, a file that is not there
    or that leaves the folder.
    """
    rows: dict[str, tuple[str, str | None, str | None, str | None]] = {}
    for line, row in _rows(path):
        name = row["file"]
        _check(path, line, name)
        if name in rows:
            raise DataError(f"{path}:{line}: file {name!r} is listed twice; keep one row")
        marks = [row.get(part) or None for part in ("group", "pair", "split")]
        rows[name] = (row.get("label", ""), marks[0], marks[1], marks[2])
    convert = int if _whole([label for label, *_ in rows.values() if label]) else str
    return {
        name: (convert(label) if label else None, group, pair, split)
        for name, (label, group, pair, split) in rows.items()
    }


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            if "file" not in header or not {"label", "group", "pair", "split"} & set(header):
                raise DataError(
                    f"{path}:1: header is {','.join(header)!r}; needed: file, and "
                    "label, group, pair or split"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(f"{path}:{reader.line_num}: needs {len(header)} fields")
                yield reader.line_num, row
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
