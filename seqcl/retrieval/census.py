"""What a dataset holds of each file, and the stretches of entries that it becomes."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqcl.batch import Label
from seqcl.data.dataset import Dataset
from seqcl.errors import UsageError

__all__ = [
    "FileRows",
    "RecordingFacts",
    "Stretch",
    "are_repeated",
    "census",
    "inner_name",
    "part_name",
    "utf8",
]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RecordingFacts:
    """One recording of a file."""

    name: str
    group: str | None
    steps: int
    rate_hz: float | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries of consecutive ids, of one recording and one label, a hop apart.

    Its entry number i begins at ``min(start + i * hop, steps - window)``; where records are whole
    it has one entry.
    """

    first: int
    count: int
    recording: int
    start: int
    label: str | None
    """As JSON, so that every kind of label comes back as it was."""


@dataclass(frozen=True)
class FileRows:
    """The rows of a dataset that come from one file, in order."""

    path: str
    rows: Ints
    recording: Ints
    """(n,) place among `recordings`, rising."""
    start: Ints
    labels: tuple[Label | None, ...]
    recordings: tuple[RecordingFacts, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def facts(self) -> str:
        """Hash of all that an index keeps of the file beside its vectors."""
        digest = hashlib.sha256(repr((self.recordings, self.labels)).encode("utf-8", "replace"))
        digest.update(self.recording.tobytes() + self.start.tobytes())
        return digest.hexdigest()

    @property
    def parts(self) -> Counter[tuple[str, int]]:
        """The recordings, by what tells them from one another inside the file, and steps."""
        return Counter((part_name(self.path, one.name), one.steps) for one in self.recordings)

    @property
    def says(self) -> bool:
        """Whether a label or a group of any recording is known."""
        groups = (one.group for one in self.recordings)
        return any(fact is not None for fact in (*self.labels, *groups))

    def stretches(self, ids: Ints, begin: int, hop: int | None) -> Iterator[Stretch]:
        """Yield the stretches of the rows from `begin` on that have these ids; hop None = whole.

        `recording` of a stretch is the place among `recordings`.
        """
        part = slice(begin, begin + len(ids))
        recording, start = self.recording[part], self.start[part]
        labels = [_json(label) for label in self.labels[part]]
        fresh = np.ones(len(ids), dtype=bool)
        if hop is not None and len(ids):
            codes = np.unique([label or "" for label in labels], return_inverse=True)[1]
            fresh[1:] = (np.diff(ids) != 1) | (np.diff(recording) != 0) | (np.diff(codes) != 0)
        begins = np.flatnonzero(fresh)
        for at, end in zip(begins.tolist(), [*begins[1:].tolist(), len(ids)], strict=True):
            yield Stretch(int(ids[at]), end - at, int(recording[at]), int(start[at]), labels[at])


def are_repeated(dataset: Dataset) -> Bools:
    """Return which recordings (R,) are there already: their file was given twice, or by a link."""
    known = dataset.recordings
    paths = [file.path.resolve() for file in known.files]
    seen: set[tuple[Path, str]] = set()
    found = np.zeros(len(known), dtype=bool)
    for row, file in enumerate(known.file.tolist()):
        own = paths[file], known.keys[row]
        found[row] = own in seen
        seen.add(own)
    return found


def census(dataset: Dataset, repeated: Bools) -> list[FileRows]:
    """Return the rows of each file, in the order of the dataset, without `repeated` recordings.

    Raises UsageError for images and arrays that come from no file.
    """
    known, spans = dataset.recordings, dataset.spans
    paths = [str(file.path.resolve()) for file in known.files]
    numbers = {path: place for place, path in enumerate(dict.fromkeys(paths))}
    if not paths:
        raise UsageError("an index is made of files, and these records come from none")
    of_file = np.array([numbers[path] for path in paths], dtype=np.int64)
    owner = of_file[known.file[spans.recording]]  # (N,) file of each row
    labels = list(dataset.labels)
    order = np.argsort(owner, kind="stable")
    order = order[~repeated[spans.recording[order]]]
    cuts = np.flatnonzero(np.diff(owner[order])) + 1
    names = list(numbers)
    found = []
    for rows in np.split(order, cuts):
        members, places = np.unique(spans.recording[rows], return_inverse=True)
        found.append(
            FileRows(
                path=names[int(owner[rows[0]])],
                rows=rows,
                recording=places.astype(np.int64),
                start=spans.start[rows],
                labels=tuple(labels[row] for row in rows.tolist()),
                recordings=tuple(
                    RecordingFacts(
                        known.ids[place], known.group(place),
                        int(known.lengths[place]), known.rate(place),
                    )
                    for place in members.tolist()
                ),
            )
        )  # fmt: skip
    return found


def inner_name(path: str, name: str) -> str:
    """Return what a recording of a file is called, without the folders that a dataset put first."""
    return utf8(os.path.basename(path)) + part_name(path, name)


def part_name(path: str, name: str) -> str:
    """Return what a recording is called behind the name of its file; `path` is where that is."""
    _, file, part = utf8(name).rpartition(utf8(os.path.basename(path)))
    return part if file else ""


def utf8(text: str) -> str:
    """Replace what a file name that is not UTF-8 brought in."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _json(label: Label | None) -> str | None:
    return None if label is None else json.dumps(label)
