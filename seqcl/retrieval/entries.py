"""Entries: the whole catalogue in arrays, so that a hit is looked up without a query."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqcl.batch import Label
from seqcl.errors import MissingInputError
from seqcl.files import sha256
from seqcl.retrieval.catalogue import Catalogue

__all__ = ["Entries", "KnownFile", "KnownRecording"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as the catalogue knows it."""

    id: int
    path: str
    sha256: str
    size: int
    mtime_ns: int

    def check(self) -> None:
        """Raise MissingInputError where the file is not what was indexed."""
        path = Path(self.path)
        try:
            if path.resolve() == path and path.is_file():
                found = path.stat()
                same = (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)
                if same or (found.st_size == self.size and sha256(path) == self.sha256):
                    return
        except OSError:
            pass
        raise MissingInputError(
            f"{path}: is gone or is no longer what was indexed; repeat 'seqcl index'"
        )


@dataclass(frozen=True, slots=True)
class KnownRecording:
    """A recording as the catalogue knows it; `place` counts the recordings of its file."""

    id: int
    file: int
    """Place among `Entries.files`."""
    place: int
    name: str
    group: str | None
    steps: int
    rate_hz: float | None


@dataclass(frozen=True)
class Entries:
    """S stretches of entries (see `seqcl.retrieval.census.Stretch`) and what they belong to."""

    first: Ints
    count: Ints
    recording: Ints
    """(S,) place among `recordings`."""
    start: Ints
    label: Ints
    """(S,) place among `labels`, -1 = none."""
    labels: tuple[Label, ...]
    recordings: tuple[KnownRecording, ...]
    files: tuple[KnownFile, ...]
    window: int | None
    hop: int | None

    @classmethod
    def load(cls, catalogue: Catalogue, window: int | None, hop: int | None) -> Entries:
        """Read the catalogue."""
        files = [
            KnownFile(row[0], os.fsdecode(row[1]), *row[2:])
            for row in catalogue.rows(
                "SELECT id, path, sha256, size, mtime_ns FROM files ORDER BY id"
            )
        ]
        place = {file.id: number for number, file in enumerate(files)}
        recordings = [
            KnownRecording(row[0], place[row[1]], *row[2:])
            for row in catalogue.rows(
                "SELECT id, file, place, name, grp, steps, rate_hz FROM recordings ORDER BY id"
            )
        ]
        rows = catalogue.rows(
            "SELECT first, count, recording, start, label FROM stretches ORDER BY first"
        )
        columns = np.array([row[:4] for row in rows], dtype=np.int64).reshape(-1, 4).T
        known = np.array([recording.id for recording in recordings], dtype=np.int64)
        texts: dict[str, int] = {}
        codes = [
            -1 if row[4] is None else texts.setdefault(str(row[4]), len(texts)) for row in rows
        ]
        return cls(
            columns[0], columns[1], np.searchsorted(known, columns[2]), columns[3],
            np.array(codes, dtype=np.int64), tuple(_label(text) for text in texts),
            tuple(recordings), tuple(files), window, hop,
        )  # fmt: skip

    def __len__(self) -> int:
        return int(self.count.sum())

    @cached_property
    def ids(self) -> Ints:
        """(N,) ids of all entries, rising."""
        return _ranges(self.first, self.count)

    def ids_of(self, chosen: Bools) -> Ints:
        """Return the ids of the entries of chosen stretches, (S,) bool."""
        return _ranges(self.first[chosen], self.count[chosen])

    def stretch_of(self, ids: Ints) -> Ints:
        """Return the stretch of each entry; every id must be a live one."""
        return np.searchsorted(self.first, ids, side="right") - 1

    def are_live(self, ids: Ints) -> Bools:
        """Return which ids are those of entries, and not of what was dropped."""
        if not len(self.first):
            return np.zeros(len(ids), dtype=bool)
        stretch = np.maximum(self.stretch_of(ids), 0)
        inside = ids - self.first[stretch]
        live: Bools = (inside >= 0) & (inside < self.count[stretch])
        return live

    def recording_of(self, ids: Ints) -> Ints:
        """Return the place of each entry's recording among `recordings`."""
        return self.recording[self.stretch_of(ids)]

    def start_of(self, ids: Ints) -> Ints:
        """Return the first step of each entry in its recording."""
        stretch = self.stretch_of(ids)
        start = self.start[stretch]
        if self.window is None or self.hop is None:
            return start
        last = self.steps[self.recording[stretch]] - self.window
        return np.minimum(start + (ids - self.first[stretch]) * self.hop, last)

    def length_of(self, recording: int) -> int:
        """Return the steps of an entry of a recording."""
        return self.window or self.recordings[recording].steps

    def label_of(self, entry: int) -> Label | None:
        """Return the label of an entry."""
        code = int(self.label[self.stretch_of(np.array([entry]))[0]])
        return None if code < 0 else self.labels[code]

    @cached_property
    def steps(self) -> Ints:
        """(R,) steps of each recording."""
        return np.array([recording.steps for recording in self.recordings], dtype=np.int64)

    @cached_property
    def file_of(self) -> Ints:
        """(R,) place of each recording's file among `files`."""
        return np.array([recording.file for recording in self.recordings], dtype=np.int64)

    @cached_property
    def source_of(self) -> Ints:
        """(R,) what each recording comes from: its group's number, or one of its own."""
        groups = sorted({r.group for r in self.recordings if r.group is not None})
        numbers = {group: number for number, group in enumerate(groups)}
        return np.array(
            [
                len(groups) + place if r.group is None else numbers[r.group]
                for place, r in enumerate(self.recordings)
            ],
            dtype=np.int64,
        )

    @property
    def label_texts(self) -> tuple[str, ...]:
        """The labels as text, each tag of a list on its own."""
        return tuple(sorted({text for label in self.labels for text in _texts(label)}))

    def with_label(self, texts: Sequence[str]) -> Bools:
        """Return which stretches have one of some labels, written as text; a tag is enough."""
        wanted = set(texts)
        fits = [bool(wanted.intersection(_texts(label))) for label in self.labels]
        return np.array([*fits, False], dtype=bool)[self.label]


def _label(text: str) -> Label:
    found = json.loads(text)
    return tuple(found) if isinstance(found, list) else found


def _texts(label: Label) -> tuple[str, ...]:
    return label if isinstance(label, tuple) else (str(label),)


def _ranges(first: Ints, count: Ints) -> Ints:
    """Return first, first + 1, ... of every stretch, end to end."""
    begins = np.cumsum(count) - count
    return np.arange(int(count.sum())) - np.repeat(begins - first, count)
