"""The files that a path stands for, and what their folder says about each."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path

from seqcl.batch import Label
from seqcl.data.labels import LABELS_NAME, read_labels
from seqcl.data.reader import Columns
from seqcl.errors import DataError, MissingInputError

__all__ = ["Found", "find_files"]

_DOCUMENTS = ("readme", "license", "licence")
"""Stems of text files that lie beside data and are none."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file; `id` is its path inside the folder that was given, or its name."""

    path: Path
    id: str
    label: Label | None = None
    group: str | None = None
    pair: str | None = None
    split: str | None = None
    folder: str | None = None
    """The sub-folder, where it tells the files apart: their label, if nothing else does."""


def find_files(
    name: str,
    wanted: Callable[[Path], bool],
    columns: Columns = Columns(),  # noqa: B008 - Columns is frozen
    has_columns: Callable[[Path], bool] = lambda path: True,
) -> list[Found]:
    """Return the file, the files in the folder or the matches of the glob, sorted.

    Args:
        name: path or pattern.
        wanted: chooses among the files of a folder or glob; a file that is named is always taken.
        columns: which columns of ``labels.csv`` are meant.
        has_columns: whether a file may hold the columns itself.

    Raises:
        MissingInputError: nothing is there or may be read.
        DataError: ``labels.csv`` lacks a column that is asked for, and no file can hold it.
    """
    path = Path(name).expanduser()
    if _is_readable(path, path.is_dir):
        files = _walk(path)
        root = path
    elif _is_readable(path, path.exists):
        return [Found(path, path.name)]
    elif glob.has_magic(name):
        files = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        if not files:
            raise MissingInputError(f"{name}: no file matches; check the pattern")
    else:
        raise MissingInputError(_missing(path))
    files = [file for file in files if file.is_file() and wanted(file)]
    own = any(has_columns(file) for file in files if file != root / LABELS_NAME)
    return _annotate(root, files, columns, strict=not own)


def _is_readable(path: Path, test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from None


def _missing(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f"{path}: no such file or folder; {parent} does not exist either"
    close = get_close_matches(path.name, os.listdir(parent), n=1)
    guess = f". Did you mean {str(parent / close[0])!r}?" if close else ""
    return f"{path}: no such file or folder{guess}"


def _walk(root: Path) -> list[Path]:
    """Return every file below `root` in sorted order; no hidden ones, no read-me, no licence."""

    def refuse(error: OSError) -> None:
        raise MissingInputError(f"{error.filename}: no permission to list this folder") from None

    found: list[Path] = []
    inside = root.resolve()
    for folder, folders, files in os.walk(root, onerror=refuse):
        folders[:] = sorted(part for part in folders if not part.startswith("."))
        visible = [Path(folder, file) for file in sorted(files) if not file.startswith(".")]
        visible = [file for file in visible if file.stem.lower() not in _DOCUMENTS]
        for path in (*visible, *(Path(folder, part) for part in folders)):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise DataError(
                    f"{path}: is a link that leads out of {root}; copy its target into the folder, "
                    f"or give {path.resolve()} itself"
                )
        found += visible
    return found


def _annotate(root: Path, files: Sequence[Path], columns: Columns, *, strict: bool) -> list[Found]:
    """Add ids, labels, groups and splits, from ``labels.csv`` or from the sub-folders."""
    names = {file: file.relative_to(root).as_posix() for file in files}
    manifest = root / LABELS_NAME
    names.pop(manifest, None)
    if manifest.is_file():
        notes = read_labels(manifest, columns, strict=strict)
        return [Found(file, name, *notes.get(name, (None,) * 4)) for file, name in names.items()]
    folders = [name.split("/")[0] if "/" in name else None for name in names.values()]
    if None in folders or len(set(folders)) < 2:
        return [Found(file, name) for file, name in names.items()]
    return [
        Found(file, name, folder=folder)
        for (file, name), folder in zip(names.items(), folders, strict=True)
    ]
