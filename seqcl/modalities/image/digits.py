"""SklearnSource: ``sklearn:digits``, the handwritten digits that scikit-learn ships."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from seqcl.batch import Axes, Entry, Record
from seqcl.data.reader import Columns, Reader
from seqcl.data.source import Source
from seqcl.errors import DataError
from seqcl.modalities.image.decoding import resize_image
from seqcl.modalities.image.files import check_whole
from seqcl.modalities.sequence.collection import pick_channels

__all__ = ["SklearnSource"]

_TRAIN = 1_297
_NAMES = ("grey",)


class SklearnSource(Source):
    """``sklearn:digits``, ``sklearn:digits:train`` or ``sklearn:digits:test``.

    1,797 grey images of 8 x 8 pixels and 17 levels, of ten digits (UCI optical recognition of
    handwritten digits, its test part). Train is the first 1,297 in the order of the file, test the
    last 500.
    """

    def __init__(self, name: str, columns: Columns) -> None:
        super().__init__(name, columns)
        self._reader = _DigitsReader(columns)

    def entries(self) -> Iterable[tuple[Reader, Entry]]:
        """Yield the images of the split, or of both; raises DataError for an unknown name."""
        name, _, split = self.name.partition(":")
        rows = {"": range(1_797), "train": range(_TRAIN), "test": range(_TRAIN, 1_797)}
        if name != "digits" or split not in rows:
            raise DataError(
                f"sklearn:{self.name}: no such set; write sklearn:digits:train, "
                "sklearn:digits:test, or sklearn:digits for both"
            )
        entries = list(self._reader.scan(Path("digits")))
        for row in rows[split]:
            yield self._reader, entries[row]


class _DigitsReader(Reader):
    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)

    def scan(self, path: Path) -> Iterable[Entry]:
        images, labels = _load()
        height, width = size = self.columns.size or images.shape[1:]
        pick_channels(path, _NAMES, self.columns.values)
        for row, label in enumerate(labels.tolist()):
            yield Entry(
                path=path,
                id=f"digits#{row}",
                length=height * width,
                channels=_NAMES,
                label=label,
                key=row,
                named=True,
                size=(size[0], size[1]),
            )

    def read(self, entry: Entry, start: int, stop: int) -> Record:
        check_whole(entry, start, stop)
        values = _load()[0][int(entry.key or 0), None] / np.float32(16)
        return Record(
            values=values if self.columns.size is None else resize_image(values, self.columns.size),
            id=entry.id,
            label=entry.label,
            channels=_NAMES,
        )


@cache
def _load() -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images.astype(np.float32), found.target
