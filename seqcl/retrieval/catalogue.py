"""Catalogue: what an index knows of its files, recordings and entries, in SQLite.

A commit here is what makes a piece of the index exist: vectors that no row of `shards` names are
strays, and are removed when the next build begins.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.errors import ArtefactError
from seqcl.retrieval.census import FileRows, part_name, utf8
from seqcl.retrieval.shards import Shard

__all__ = ["Catalogue", "FileStamp", "IndexedFile", "Part"]

Ints = npt.NDArray[np.int64]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, path BLOB UNIQUE NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, facts TEXT NOT NULL, windows INTEGER NOT NULL,
    done INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS recordings (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL,
    grp TEXT, steps INTEGER NOT NULL, rate_hz REAL);
CREATE INDEX IF NOT EXISTS recordings_of_file ON recordings (file, place);
CREATE TABLE IF NOT EXISTS stretches (
    first INTEGER PRIMARY KEY, count INTEGER NOT NULL, recording INTEGER NOT NULL,
    start INTEGER NOT NULL, label TEXT);
CREATE INDEX IF NOT EXISTS stretches_of_recording ON stretches (recording);
CREATE TABLE IF NOT EXISTS shards (
    first INTEGER PRIMARY KEY, rows INTEGER NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells that a file is the one that was embedded."""

    sha256: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A row of `files`; `done` of its `windows` entries are in the index."""

    id: int
    path: str
    stamp: FileStamp
    facts: str
    windows: int
    done: int

    @property
    def is_whole(self) -> bool:
        """Whether all its entries are in the index."""
        return self.done == self.windows


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a file that are committed together: from `begin` on, `count` of them."""

    file: FileRows
    stamp: FileStamp
    begin: int
    count: int


class Catalogue:
    """The open database; changes are transactions, durable when they return.

    Raises ArtefactError where the file is not a whole catalogue.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        with self._told():
            mode = "rwc" if writable else "ro"
            uri = f"{path.resolve().as_uri()}?mode={mode}"
            self.database = sqlite3.connect(uri, uri=True, check_same_thread=False)
            if writable:
                self.database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def check(self) -> None:
        """Raise ArtefactError where SQLite finds a page damaged."""
        with self._told():
            (found,) = self.database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise ArtefactError(f"{self.path}: is damaged ({found}); index again into a new --out")

    def files(self) -> dict[str, IndexedFile]:
        """Return the files by path."""
        rows = self.rows("SELECT id, path, sha256, size, mtime_ns, facts, windows, done FROM files")
        files = [
            IndexedFile(row[0], os.fsdecode(row[1]), FileStamp(*row[2:5]), *row[5:]) for row in rows
        ]
        return {file.path: file for file in files}

    def shards(self) -> list[Shard]:
        """Return the files of vectors, in order."""
        rows = self.rows("SELECT first, rows, name, sha256 FROM shards ORDER BY first")
        return [Shard(*row) for row in rows]

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with self._told():
            return self.database.execute(query, values).fetchall()

    def add(self, shard: Shard, parts: Sequence[Part], hop: int | None) -> None:
        """Commit one file of vectors and the entries that they belong to, in their order."""
        with self._change() as database:
            database.execute("INSERT INTO shards VALUES (?, ?, ?, ?)", astuple(shard))
            first = shard.first
            for part in parts:
                ids = np.arange(first, first + part.count)
                number = self._begin(part) if part.begin == 0 else self._continue(part)
                self._describe(part.file, number, ids, part.begin, hop)
                first += part.count

    def drop(self, files: Sequence[IndexedFile]) -> None:
        """Forget files; their vectors stay until the index is compacted."""
        with self._change():
            for file in files:
                self._drop(file.id)

    def rename(self, file: IndexedFile, path: str) -> None:
        """Note that a file has moved; its recordings are called after it."""
        rows = self.rows("SELECT id, name FROM recordings WHERE file = ?", (file.id,))
        base = utf8(os.path.basename(path))
        names = [(base + part_name(file.path, name), number) for number, name in rows]
        with self._change() as database:
            database.execute("UPDATE files SET path = ? WHERE id = ?", (os.fsencode(path), file.id))
            database.executemany("UPDATE recordings SET name = ? WHERE id = ?", names)

    def restamp(self, file: IndexedFile, stamp: FileStamp) -> None:
        """Note the size and time of a file whose content is the same."""
        with self._change() as database:
            database.execute(
                "UPDATE files SET sha256 = ?, size = ?, mtime_ns = ? WHERE id = ?",
                (*astuple(stamp), file.id),
            )

    def redescribe(self, file: IndexedFile, rows: FileRows, hop: int | None) -> None:
        """Write names, groups and labels of a file again; ids and vectors stay."""
        ids = self.ids_of(file)
        with self._change() as database:
            stamp = file.stamp
            self._drop(file.id)
            self._begin(Part(rows, stamp, 0, len(ids)), file.id)
            self._describe(rows, file.id, ids, 0, hop)
            database.execute("UPDATE files SET done = ? WHERE id = ?", (len(ids), file.id))

    def ids_of(self, file: IndexedFile) -> Ints:
        """Return the ids of a file's entries, in order."""
        rows = self.rows(
            "SELECT first, count FROM stretches JOIN recordings ON recordings.id = recording "
            "WHERE file = ? ORDER BY place, first",
            (file.id,),
        )
        parts: list[Ints] = [np.arange(first, first + count) for first, count in rows]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def parts_of(self, file: IndexedFile) -> Counter[tuple[str, int]]:
        """Return what `FileRows.parts` was."""
        rows = self.rows("SELECT name, steps FROM recordings WHERE file = ?", (file.id,))
        return Counter((part_name(file.path, name), steps) for name, steps in rows)

    def says_of(self, file: IndexedFile) -> bool:
        """Return what `FileRows.says` was."""
        query = (
            "SELECT 1 FROM recordings LEFT JOIN stretches ON recordings.id = recording "
            "WHERE file = ? AND (grp IS NOT NULL OR label IS NOT NULL) LIMIT 1"
        )
        return bool(self.rows(query, (file.id,)))

    def replace_vectors(self, shards: Sequence[Shard], starts: Sequence[tuple[int, int]]) -> None:
        """Commit new files of vectors and new first ids: (old first, new first), both rising."""
        with self._change() as database:
            database.execute("DELETE FROM shards")
            rows = [astuple(shard) for shard in shards]
            database.executemany("INSERT INTO shards VALUES (?, ?, ?, ?)", rows)
            moved = [(new, old) for old, new in starts]  # never above the old one, so no clash
            database.executemany("UPDATE stretches SET first = ? WHERE first = ?", moved)

    def _begin(self, part: Part, number: int | None = None) -> int:
        """Insert a file and its recordings in place of what was at its path."""
        file, database = part.file, self.database
        for (old,) in database.execute(
            "SELECT id FROM files WHERE path = ?", (os.fsencode(file.path),)
        ):
            self._drop(old)
        cursor = database.execute(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                os.fsencode(file.path),
                *astuple(part.stamp),
                file.facts,
                len(file),
                part.count,
            ),
        )
        number = int(cursor.lastrowid or 0)
        database.executemany(
            "INSERT INTO recordings VALUES (NULL, ?, ?, ?, ?, ?, ?)",
            [
                (
                    number,
                    place,
                    utf8(fact.name),
                    fact.group and utf8(fact.group),
                    fact.steps,
                    fact.rate_hz,
                )
                for place, fact in enumerate(file.recordings)
            ],
        )
        return number

    def _continue(self, part: Part) -> int:
        """Count further entries of a file that was begun."""
        path, database = os.fsencode(part.file.path), self.database
        database.execute(
            "UPDATE files SET done = ? WHERE path = ?", (part.begin + part.count, path)
        )
        (number,) = database.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
        return int(number)

    def _describe(
        self, file: FileRows, number: int, ids: Ints, begin: int, hop: int | None
    ) -> None:
        """Insert the stretches of a file's rows."""
        database = self.database
        query = "SELECT id FROM recordings WHERE file = ? ORDER BY place"
        known = [row[0] for row in database.execute(query, (number,))]
        database.executemany(
            "INSERT INTO stretches VALUES (?, ?, ?, ?, ?)",
            [
                (s.first, s.count, known[s.recording], s.start, s.label)
                for s in file.stretches(ids, begin, hop)
            ],
        )

    def _drop(self, number: int) -> None:
        self.database.execute(
            "DELETE FROM stretches WHERE recording IN (SELECT id FROM recordings WHERE file = ?)",
            (number,),
        )
        self.database.execute("DELETE FROM recordings WHERE file = ?", (number,))
        self.database.execute("DELETE FROM files WHERE id = ?", (number,))

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._told(), self.database:
            yield self.database

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise ArtefactError(
                f"{self.path}: cannot be used ({error}); restore it, or index again into a new "
                "--out"
            ) from None
