"""Recordings: what a scan found, column by column, so that a million entries stay small."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.batch import Entry, Label, Size, sorted_labels
from seqcl.data.compact import Strings
from seqcl.data.reader import Reader

__all__ = ["File", "Layout", "Recordings", "RecordingsBuilder"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class File:
    """A file and what reads it; arrays in memory have no reader."""

    path: Path
    reader: Reader | None


@dataclass(frozen=True, slots=True)
class Layout:
    """The channels of some recordings, whether their file names them, and an image's size."""

    channels: tuple[str, ...]
    named: bool
    size: Size | None = None


@dataclass(frozen=True)
class Recordings:
    """R recordings as arrays; `entry` makes the object that a reader takes."""

    files: tuple[File, ...]
    file: Ints
    """(R,) place in `files`."""
    layouts: tuple[Layout, ...]
    layout: Ints
    """(R,) place in `layouts`."""
    ids: Strings
    keys: Strings
    """(R,) what the reader finds a recording by, as JSON."""
    lengths: Ints
    """(R,) steps."""
    rates: npt.NDArray[np.float64]
    """(R,) Hz; NaN = unknown."""
    classes: tuple[Label, ...]
    """Sorted labels; `labels` (R,) are places in it, -1 = none."""
    labels: Ints
    group_names: tuple[str, ...]
    """Sorted groups; `groups` (R,) are places in it, -1 = none."""
    groups: Ints
    pair_names: tuple[str, ...]
    """Sorted pair marks; `pairs` (R,) are places in it, -1 = none."""
    pairs: Ints

    def __len__(self) -> int:
        return len(self.lengths)

    def reader(self, row: int) -> Reader:
        """Return what reads recording `row`."""
        reader = self.files[int(self.file[row])].reader
        if reader is None:
            raise ValueError(f"recording {row} lives in memory and has no reader")
        return reader

    def label(self, row: int) -> Label | None:
        """Return the label of recording `row`."""
        code = int(self.labels[row])
        return None if code < 0 else self.classes[code]

    def group(self, row: int) -> str | None:
        """Return the group of recording `row`."""
        code = int(self.groups[row])
        return None if code < 0 else self.group_names[code]

    def pair(self, row: int) -> str | None:
        """Return the pair mark of recording `row`."""
        code = int(self.pairs[row])
        return None if code < 0 else self.pair_names[code]

    @property
    def pair_codes(self) -> Ints:
        """(R,) pair numbers as in `Batch.pairs`: 0 = none, below 0 = marked as different."""
        signs = [-1 if name.startswith("!") else 1 for name in self.pair_names]
        numbers = np.arange(1, len(signs) + 1) * np.array(signs, dtype=np.int64)
        return np.append(numbers, 0)[self.pairs]

    def rate(self, row: int) -> float | None:
        """Return the sampling rate of recording `row` in Hz."""
        rate = float(self.rates[row])
        return None if np.isnan(rate) else rate

    def entry(self, row: int) -> Entry:
        """Return the entry that the scan gave."""
        layout = self.layouts[int(self.layout[row])]
        return Entry(
            path=self.files[int(self.file[row])].path,
            id=self.ids[row],
            length=int(self.lengths[row]),
            channels=layout.channels,
            rate_hz=self.rate(row),
            label=self.label(row),
            group=self.group(row),
            pair=self.pair(row),
            key=json.loads(self.keys[row]),
            named=layout.named,
            size=layout.size,
        )

    def take(self, rows: Ints) -> Recordings:
        """Return the recordings at `rows`; files, classes and groups stay."""
        arrays = ("file", "layout", "lengths", "rates", "labels", "groups", "pairs")
        changes: dict[str, Any] = {name: getattr(self, name)[rows] for name in arrays}
        return replace(self, ids=self.ids.take(rows), keys=self.keys.take(rows), **changes)


class RecordingsBuilder:
    """Takes entries one by one and keeps their columns only."""

    def __init__(self) -> None:
        self._files: list[File] = []
        self._layouts: dict[Layout, int] = {}
        self._labels: dict[Label, int] = {}
        self._groups: dict[str, int] = {}
        self._pairs: dict[str, int] = {}
        self._ids, self._keys = Strings(), Strings()
        self._columns = {
            name: array("q") for name in ("file", "layout", "length", "label", "group", "pair")
        }
        self._rates = array("d")

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, entry: Entry, reader: Reader | None = None) -> None:
        """Append one recording."""
        file = File(entry.path, reader)
        if not self._files or self._files[-1] != file:
            self._files.append(file)
        layout = Layout(entry.channels, entry.named, entry.size)
        columns = self._columns
        columns["file"].append(len(self._files) - 1)
        columns["layout"].append(_code(self._layouts, layout))
        columns["length"].append(entry.length)
        columns["label"].append(_code(self._labels, entry.label))
        columns["group"].append(_code(self._groups, entry.group))
        columns["pair"].append(_code(self._pairs, entry.pair))
        self._rates.append(float("nan") if entry.rate_hz is None else entry.rate_hz)
        self._ids.append(entry.id)
        self._keys.append(json.dumps(entry.key))

    def build(self) -> Recordings:
        """Return the recordings, with classes, groups and pair marks in sorted order."""
        columns = {name: np.array(column, dtype=np.int64) for name, column in self._columns.items()}
        classes, groups = sorted_labels(self._labels), tuple(sorted(self._groups))
        pairs = tuple(sorted(self._pairs))
        return Recordings(
            files=tuple(self._files),
            file=columns["file"],
            layouts=tuple(self._layouts),
            layout=columns["layout"],
            ids=self._ids,
            keys=self._keys,
            lengths=columns["length"],
            rates=np.array(self._rates),
            classes=classes,
            labels=_recode(columns["label"], self._labels, classes),
            group_names=groups,
            groups=_recode(columns["group"], self._groups, groups),
            pair_names=pairs,
            pairs=_recode(columns["pair"], self._pairs, pairs),
        )


def _code(codes: dict[Any, int], value: Any) -> int:
    """Return the number of `value`, new if it is; None is -1."""
    return -1 if value is None else codes.setdefault(value, len(codes))


def _recode(column: Ints, codes: dict[Any, int], order: Sequence[Any]) -> Ints:
    """Translate codes by first appearance into places in `order`; -1 stays."""
    places = {value: place for place, value in enumerate(order)}
    table = np.array([places[value] for value in codes] + [-1], dtype=np.int64)
    return table[column]
