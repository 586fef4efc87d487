"""CollectionReader: for formats whose file holds many records and is opened as a whole."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from seqcl.batch import Entry, Label, Record
from seqcl.data.reader import Columns, Reader
from seqcl.errors import DataError, did_you_mean

__all__ = ["Collection", "CollectionReader", "check_steps", "pick_channels"]


@dataclass(frozen=True, slots=True)
class Collection:
    """The records of one file.

    `series` holds one (C, T) array of numbers for each record, in memory or mapped from the
    file; `lengths` its steps without padding, all of T where None.
    """

    series: Sequence[npt.NDArray[Any]]
    channels: tuple[str, ...]
    named: bool = False
    lengths: Sequence[int] | None = None
    labels: Sequence[Label | None] | None = None
    groups: Sequence[str] | None = None
    pairs: Sequence[str | None] | None = None
    rate_hz: float | None = None


class CollectionReader(Reader):
    """Reads records out of a Collection; a subclass writes `load`.

    The files opened last stay open, at most `open_files` of them. Records are named
    ``file#row``, or ``file`` where there is but one.
    """

    open_files: ClassVar[int] = 64
    memory_bytes: ClassVar[int] = 2 << 30

    def __init__(self, columns: Columns = Columns()) -> None:  # noqa: B008 - Columns is frozen
        super().__init__(columns)
        self._opened: OrderedDict[Path, Collection] = OrderedDict()
        self._bytes = 0

    @property
    def lazy(self) -> bool:  # type: ignore[override]
        """Whether the files are too large to be kept twice, so that windows are cut from them."""
        return self._bytes > self.memory_bytes

    @abstractmethod
    def load(self, path: Path) -> Collection:
        """Open one file; raises DataError or ArtefactError that names it."""

    def scan(self, path: Path) -> Iterator[Entry]:
        """Yield the records of one file."""
        collection = self._open(path)
        chosen = pick_channels(path, collection.channels, self.columns.values)
        channels = tuple(collection.channels[place] for place in chosen)
        several = len(collection.series) > 1
        for row, series in enumerate(collection.series):
            yield Entry(
                path=path,
                id=f"{path.name}#{row}" if several else path.name,
                length=series.shape[1] if collection.lengths is None else collection.lengths[row],
                channels=channels,
                rate_hz=collection.rate_hz,
                label=None if collection.labels is None else collection.labels[row],
                group=None if collection.groups is None else collection.groups[row],
                pair=None if collection.pairs is None else collection.pairs[row],
                key=row,
                named=collection.named,
            )

    def read(self, entry: Entry, start: int, stop: int) -> Record:
        """Read steps `start` to `stop` of one record; raises IndexError beyond it."""
        check_steps(entry, start, stop)
        collection = self._open(entry.path)
        chosen = pick_channels(entry.path, collection.channels, self.columns.values)
        series = collection.series[int(entry.key or 0)]
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which the scaler names
            values = np.array(series[list(chosen), start:stop], dtype=np.float32, order="C")
        return entry.record(values, start)

    def _open(self, path: Path) -> Collection:
        if path not in self._opened:
            collection = self._opened[path] = self.load(path)
            self._bytes += sum(series.nbytes for series in collection.series)
            if len(self._opened) > self.open_files:
                self._opened.popitem(last=False)
        self._opened.move_to_end(path)
        return self._opened[path]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": OrderedDict(), "_bytes": 0}


def check_steps(entry: Entry, start: int, stop: int) -> None:
    """Raise IndexError where a recording does not have these steps."""
    if not 0 <= start <= stop <= entry.length:
        raise IndexError(f"{entry.id}: steps {start} to {stop} of {entry.length}")


def pick_channels(
    path: Path, channels: Sequence[str], wanted: Sequence[str] | None
) -> tuple[int, ...]:
    """Return the places of the `wanted` channels, all of them where None.

    Raises DataError for a name that the file does not have.
    """
    if wanted is None:
        return tuple(range(len(channels)))
    for name in wanted:
        if name not in channels:
            raise DataError(
                f"{path}: has no channel {name!r}, asked for by data.columns."
                f"{did_you_mean(name, channels)}"
            )
    return tuple(channels.index(name) for name in wanted)
