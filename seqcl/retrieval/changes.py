"""What has to be done to an index so that it says what a dataset holds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqcl.files import sha256
from seqcl.retrieval.catalogue import Catalogue, FileStamp, IndexedFile
from seqcl.retrieval.census import FileRows

__all__ = ["Changes", "find_changes", "note_changes"]


@dataclass(frozen=True)
class Changes:
    """Files by what has happened to them since the index was made.

    `pending` holds (file, stamp, rows that are in the index already): new files, changed ones,
    and those whose embedding was interrupted.
    """

    pending: tuple[tuple[FileRows, FileStamp, int], ...] = ()
    added: int = 0
    changed: int = 0
    resumed: int = 0
    unchanged: int = 0
    moved: tuple[tuple[IndexedFile, str], ...] = ()
    restamped: tuple[tuple[IndexedFile, FileStamp], ...] = ()
    redescribed: tuple[tuple[IndexedFile, FileRows], ...] = ()
    """The same content under another name, label or group."""
    removed: tuple[IndexedFile, ...] = ()
    """Files of the index that are not in the dataset."""


def find_changes(
    known: Mapping[str, IndexedFile], found: Sequence[FileRows], *, rehash: bool = False
) -> Changes:
    """Compare by content; without `rehash` a file of the same size and time is the same.

    A file whose content is that of one that has gone has moved, and is not embedded again.
    """
    paths = {file.path for file in found}
    gone: dict[str, list[IndexedFile]] = {}  # by content, of which there may be copies
    for path, one in known.items():
        if path not in paths and one.done == one.windows and not os.path.exists(path):
            gone.setdefault(one.stamp.sha256, []).append(one)
    pending, moved, restamped, redescribed = [], [], [], []
    counts = dict.fromkeys(("added", "changed", "resumed", "unchanged"), 0)
    for file in found:
        old = known.get(file.path)
        stamp = _stamp(Path(file.path), None if rehash or old is None else old.stamp)
        if old is None and gone.get(stamp.sha256):
            old = gone[stamp.sha256].pop(0)
            moved.append((old, file.path))
        if old is None or not _is_same(old, stamp, file):
            counts["added" if old is None else "changed"] += 1
            pending.append((file, stamp, 0))
            continue
        counts["unchanged" if old.done == old.windows else "resumed"] += 1
        if old.done < old.windows:
            pending.append((file, stamp, old.done))
        if old.stamp != stamp:
            restamped.append((old, stamp))
        if old.facts != file.facts and old.done == old.windows:
            redescribed.append((old, file))
    names = {old.path for old, _ in moved}
    removed = [file for path, file in known.items() if path not in paths and path not in names]
    return Changes(
        tuple(pending), **counts, moved=tuple(moved), restamped=tuple(restamped),
        redescribed=tuple(redescribed), removed=tuple(removed),
    )  # fmt: skip


def note_changes(catalogue: Catalogue, changes: Changes, hop: int | None, *, prune: bool) -> None:
    """Write down what needs no vectors; with `prune` forget the files that are gone."""
    for file, path in changes.moved:
        catalogue.rename(file, path)
    for file, rows in changes.redescribed:
        catalogue.redescribe(file, rows, hop)
    for file, stamp in changes.restamped:
        catalogue.restamp(file, stamp)
    if prune:
        catalogue.drop(changes.removed)


def _is_same(old: IndexedFile, stamp: FileStamp, file: FileRows) -> bool:
    """Whether the entries of a file are those that it would have now."""
    whole = old.done == old.windows
    return (
        old.stamp.sha256 == stamp.sha256
        and old.windows == len(file)
        and (whole or old.facts == file.facts)
    )


def _stamp(path: Path, known: FileStamp | None) -> FileStamp:
    """Return size, time and digest; the file is read only where size or time are not known."""
    status = path.stat()
    same = known is not None and (known.size, known.mtime_ns) == (
        status.st_size,
        status.st_mtime_ns,
    )
    digest = known.sha256 if known is not None and same else sha256(path)
    return FileStamp(digest, status.st_size, status.st_mtime_ns)
