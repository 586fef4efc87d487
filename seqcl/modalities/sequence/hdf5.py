"""Hdf5Reader: the recordings of a seqcl store, series or images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from seqcl.batch import Axes, Entry, Record
from seqcl.data.reader import Columns, Reader
from seqcl.data.store import Store
from seqcl.modalities.sequence.collection import pick_channels

__all__ = ["Hdf5Reader"]


class Hdf5Reader(Reader):
    """Reads windows of ``.h5`` stores as `seqcl.data.store.Store` writes them, one seek each."""

    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5")
    lazy: ClassVar[bool] = True
    layouts: ClassVar[tuple[Axes, ...]] = ("CT", "CHW")

    def __init__(self, columns: Columns = Columns()) -> None:  # noqa: B008 - Columns is frozen
        super().__init__(columns)
        self._stores: dict[Path, Store] = {}

    def scan(self, path: Path) -> Iterator[Entry]:
        """Yield the recordings of one store; raises as Store does, before the first."""
        store = self._store(path)
        places = pick_channels(path, store.channels, self.columns.values)
        channels = tuple(store.channels[place] for place in places)
        for entry in store.entries():
            yield replace(entry, channels=channels)

    def read(self, entry: Entry, start: int, stop: int) -> Record:
        """Read steps `start` to `stop` of one recording."""
        store = self._store(entry.path)
        places = pick_channels(entry.path, store.channels, self.columns.values)
        values = store.read(int(entry.key or 0), start, stop)[list(places)]
        if store.size is not None and stop - start == entry.length:
            values = values.reshape(len(values), *store.size)
        return entry.record(values, start)

    def _store(self, path: Path) -> Store:
        if path not in self._stores:
            self._stores[path] = Store(path)
        return self._stores[path]
