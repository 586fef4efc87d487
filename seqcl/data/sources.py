"""FileSource: a file, a folder or a glob, read by the reader of each file's suffix."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from seqcl.batch import Axes, Entry
from seqcl.data.folder import Found, find_files
from seqcl.data.options import DataOptions
from seqcl.data.reader import Columns, Reader
from seqcl.data.source import Skipped, Source
from seqcl.errors import DataError, MissingInputError, SeqclError
from seqcl.registry import registry

__all__ = ["FileSource", "make_source", "reader_name", "reader_suffixes"]

_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


class FileSource(Source):
    """Recordings of a file, of a folder with its sub-folders, or of the files a glob matches.

    A folder is walked in sorted order; hidden files, files of unknown suffix, a read-me and a
    licence are passed by, and a link that leads out of it is refused. A ``labels.csv`` in it
    (``file,label,group,pair,split``, or other names by data.label, data.group, data.pair and
    data.split) labels its files; without one, where every file lies in one
    of several sub-folders, that sub-folder is its label. A file that cannot be read is skipped,
    unless it is the only one. ``PATH:train`` takes the files of that split of ``labels.csv``, or
    the records of that split of a file that holds several.

    Args:
        name: the path or pattern.
        columns: what readers must pick.
        reader: name of a reader for every file; None = by suffix.
        layout: which readers a suffix may stand for; None = those of series before those of
            images.
    """

    def __init__(
        self,
        name: str,
        columns: Columns,
        reader: str | None = None,
        layout: Axes | None = None,
    ) -> None:
        path, split = _parted(name)
        super().__init__(path, replace(columns, split=split))
        self._reader = reader
        self._layout = layout
        self._readers: dict[str, Reader] = {}

    def entries(self) -> Iterable[tuple[Reader, Entry]]:
        """Yield the recordings of every file in turn."""
        files = find_files(
            self.name,
            lambda path: bool(self._name_of(path)),
            self.columns,
            lambda path: self._name_of(path) is None or self._reader_of(path).has_columns,
        )
        if not files:
            raise DataError(
                f"{self.name}: no data file in there; known suffixes: "
                f"{' '.join(reader_suffixes(self._layout))}; name a reader for others with "
                "data.reader"
            )
        files = self._of_split(files)
        self._tell_unnamed(files)
        self._tell_splits(files)
        for file in files:
            try:
                yield from self._scan(file)
            except (DataError, MissingInputError) as error:
                if len(files) == 1:
                    raise
                self.skipped.append(Skipped(file.id, str(error)))

    def _tell_unnamed(self, files: list[Found]) -> None:
        """Note which columns are asked for where nothing could hold them."""
        readers = [self._reader_of(file.path) for file in files if self._name_of(file.path)]
        if not readers or any(reader.has_columns for reader in readers):
            return
        asked = {"label": self.columns.label, "group": self.columns.group}
        for option, name in asked.items():
            if name is not None and all(getattr(file, option) is None for file in files):
                readers[0].notes.append(
                    f"{self.name}: no labels.csv gives a {option}, asked for by "
                    f"data.{option}={name}"
                )

    def _tell_splits(self, files: list[Found]) -> None:
        """Note where the sub-folders, which are labels, have the names of splits."""
        names = sorted({file.folder for file in files if file.folder is not None})
        if names and {name.lower() for name in names} <= _SPLITS:
            self._reader_of(files[0].path).notes.append(
                f"{self.name}: the sub-folders {', '.join(names)} are named like splits, and are "
                "the labels of files that have no other; give each of them apart"
            )

    def _of_split(self, files: list[Found]) -> list[Found]:
        """Return the files of the split that is asked for; all where files hold splits."""
        split, known = self.columns.split, sorted({file.split for file in files if file.split})
        if split is None or not known:
            return files
        chosen = [file for file in files if file.split == split]
        if not chosen:
            raise DataError(
                f"{self.name}: no file of split {split!r} in labels.csv; there are: "
                f"{', '.join(known)}"
            )
        return chosen

    def _scan(self, file: Found) -> Iterator[tuple[Reader, Entry]]:
        """Yield the recordings of one file; of a reader that is not lazy all or none."""
        reader = self._reader_of(file.path)
        _check_access(file.path)
        if self.columns.split and not (file.split or reader.has_splits):
            inside = Path(self.name, self.columns.split)
            hint = f"give {inside} for the folder of that name, " if inside.is_dir() else ""
            raise DataError(
                f"{file.path}: holds no splits, asked for {self.columns.split!r}; {hint}give a "
                "file for each split, or list the split of each file in the column split of "
                "labels.csv"
            )
        entries = reader.scan(file.path)
        for entry in entries if reader.lazy else list(entries):
            yield reader, _annotated(entry, file)

    def _reader_of(self, path: Path) -> Reader:
        name = self._name_of(path)
        if name is None:
            raise DataError(
                f"{path}: no reader for this suffix; known: "
                f"{' '.join(reader_suffixes(self._layout))}; name a reader with data.reader"
            )
        if name not in self._readers:
            self._readers[name] = registry("readers")[name](self.columns)
        return self._readers[name]

    def _name_of(self, path: Path) -> str | None:
        return self._reader or reader_name(path, self._layout)


def make_source(text: str, options: DataOptions) -> Source:
    """Return the source that SRC stands for: a path or glob, or ``scheme:name``.

    Raises UsageError for an unknown scheme, with did-you-mean.
    """
    scheme, _, name = text.partition(":")
    is_path = not (name and re.fullmatch("[a-z][a-z0-9_-]+", scheme)) or os.path.exists(text)
    if scheme not in registry("sources"):
        is_path = is_path or os.path.exists(scheme)  # the split of a folder: photos:train
    if is_path or scheme == "file":
        path = text if is_path else name
        return FileSource(path, options.selection, options.reader, options.layout)
    source: Source = registry("sources")[scheme](name, options.selection)
    return source


def reader_name(path: Path, layout: Axes | None = None) -> str | None:
    """Return the reader of a file by its longest known suffix, or None."""
    name = path.name.lower()
    known = reader_suffixes(layout)
    return next((known[suffix] for suffix in known if name.endswith(suffix)), None)


def reader_suffixes(layout: Axes | None = None) -> dict[str, str]:
    """Return the reader of each suffix, the longest suffix first.

    Of one layout, or of all, where series come first. A built-in keeps its suffix against a
    plugin; a plugin that cannot be loaded has none.
    """
    if layout is not None:
        return _suffixes(tuple(registry("readers")), layout)
    found = reader_suffixes("CHW") | reader_suffixes("CT")
    return dict(sorted(found.items(), key=lambda item: (-len(item[0]), item[0])))


@cache
def _suffixes(names: tuple[str, ...], layout: Axes) -> dict[str, str]:
    """Load the readers, built-ins first; cached by their names, so that a new one is seen."""
    table = registry("readers")
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name not in table.builtin, name)):
        try:
            reader: type[Reader] = table[name]
        except SeqclError:
            continue
        for suffix in reader.suffixes if layout in reader.layouts else ():
            found.setdefault(suffix, name)
    return dict(sorted(found.items(), key=lambda item: (-len(item[0]), item[0])))


def _parted(name: str) -> tuple[str, str | None]:
    """Return ``PATH:split`` as both, where there is no file of the whole name but one of PATH."""
    path, _, split = name.rpartition(":")
    is_split = re.fullmatch("[a-z0-9][a-z0-9_]*", split) and path and not os.path.exists(name)
    if is_split and os.path.exists(os.path.expanduser(path)):
        return path, split
    return name, None


def _check_access(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from None


def _annotated(entry: Entry, file: Found) -> Entry:
    """Put the folder's path before the id, and its label, group and pair mark in place."""
    identity = file.id + entry.id.removeprefix(file.path.name)
    own = file.folder if entry.label is None else entry.label
    label = own if file.label is None else file.label
    group, pair = file.group or entry.group, file.pair or entry.pair
    return replace(entry, id=identity, label=label, group=group, pair=pair)
