"""What has to be done to an index so that it says what a dataset holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqcl.errors import UsageError
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
    kept: tuple[IndexedFile, ...] = ()
    """Files of the index that are not in the dataset and stay."""
    dropped: tuple[IndexedFile, ...] = ()
    """Those that go: all of them where asked for, else those that were never embedded whole."""


def find_changes(
    catalogue: Catalogue, found: Sequence[FileRows], *, rehash: bool = False, prune: bool = False
) -> Changes:
    """Compare by content; without `rehash` a file of the same size and time is the same.

    A file whose content is that of one that has gone has moved, and is not embedded again. With
    `prune` the index shall hold what was found and nothing else.

    Raises UsageError where some of a file's recordings were found and the index holds others.
    """
    known, paths = catalogue.files(), {file.path for file in found}
    gone: dict[str, list[IndexedFile]] = {}  # by content, of which there may be copies
    for path, one in known.items():
        if path not in paths and one.is_whole and not os.path.exists(path):
            gone.setdefault(one.stamp.sha256, []).append(one)
    pending, moved, restamped, redescribed = [], [], [], []
    counts = dict.fromkeys(("added", "changed", "resumed", "unchanged"), 0)
    for file in found:
        old = known.get(file.path)
        stamp = _stamp(Path(file.path), None if rehash or old is None else old.stamp)
        if old is None and gone.get(stamp.sha256):
            old = gone[stamp.sha256].pop(0)
            moved.append((old, file.path))
        if old is None or not _is_held(catalogue, old, stamp, file, prune):
            counts["added" if old is None else "changed"] += 1
            pending.append((file, stamp, 0))
            continue
        counts["unchanged" if old.is_whole else "resumed"] += 1
        if not old.is_whole:
            pending.append((file, stamp, old.done))
        if old.stamp != stamp:
            restamped.append((old, stamp))
        if old.facts != file.facts and _is_news(catalogue, old, file):
            redescribed.append((old, file))
    names = {old.path for old, _ in moved}
    absent = [one for path, one in known.items() if path not in paths and path not in names]
    return Changes(
        tuple(pending), **counts, moved=tuple(moved), restamped=tuple(restamped),
        redescribed=tuple(redescribed),
        kept=tuple(one for one in absent if one.is_whole and not prune),
        dropped=tuple(one for one in absent if prune or not one.is_whole),
    )  # fmt: skip


def note_changes(catalogue: Catalogue, changes: Changes, hop: int | None) -> None:
    """Write down what needs no vectors."""
    for file, path in changes.moved:
        catalogue.rename(file, path)
    for file, rows in changes.redescribed:
        catalogue.redescribe(file, rows, hop)
    for file, stamp in changes.restamped:
        catalogue.restamp(file, stamp)
    catalogue.drop(changes.dropped)


def _is_held(
    catalogue: Catalogue, old: IndexedFile, stamp: FileStamp, file: FileRows, prune: bool
) -> bool:
    """Whether the index has the entries of a file, or goes on to have them."""
    if old.stamp.sha256 != stamp.sha256:
        return False
    if old.facts == file.facts and old.windows == len(file):
        return True
    was, now = catalogue.parts_of(old), file.parts
    if was == now or not old.is_whole:
        return old.is_whole and old.windows == len(file)
    if prune or was <= now:
        return False
    if now <= was:
        return True
    raise UsageError(
        f"{file.path}: the index holds other recordings of this file; give all of them in one "
        "call (--data FILE:train --data FILE:test), or take another --out"
    )


def _is_news(catalogue: Catalogue, old: IndexedFile, file: FileRows) -> bool:
    """Whether a file that is held is described otherwise: names, or labels and groups if known."""
    if not old.is_whole or catalogue.parts_of(old) != file.parts:
        return False
    return file.says or not catalogue.says_of(old)


def _stamp(path: Path, known: FileStamp | None) -> FileStamp:
    """Return size, time and digest; the file is read only where size or time are not known."""
    status = path.stat()
    same = known is not None and (known.size, known.mtime_ns) == (
        status.st_size,
        status.st_mtime_ns,
    )
    digest = known.sha256 if known is not None and same else sha256(path)
    return FileStamp(digest, status.st_size, status.st_mtime_ns)
