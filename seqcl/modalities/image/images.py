"""The images of one file, as an array or as packed image files."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.batch import Label, Size
from seqcl.data.images import channels_first, check_images, to_unit
from seqcl.data.reader import Columns, default_channels
from seqcl.errors import DataError
from seqcl.modalities.image.decoding import (
    channel_names,
    decode_image,
    read_header,
    resize_image,
)

__all__ = ["ArrayImages", "Images", "PackedImages", "Shape"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """Channels and size of an image."""

    channels: tuple[str, ...]
    size: Size


class Images(ABC):
    """N images that one file holds, or one split of it.

    Attributes:
        name: what the id of an image has before its number: ``""`` or the split.
        labels, groups: one for each image, where the file has them.
    """

    def __init__(
        self,
        name: str,
        labels: Sequence[Label | None] | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        self.name, self.labels, self.groups = name, labels, groups

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def shapes(self, columns: Columns) -> Iterator[Shape]:
        """Yield the shape that each image will have."""

    @abstractmethod
    def image(self, row: int, columns: Columns) -> Floats:
        """Return one image (C, H, W) in [0, 1]; raises DataError where it is damaged."""


class ArrayImages(Images):
    """Images of one array, (n, C, H, W), (n, H, W, C) or (n, H, W); see `seqcl.data.images`."""

    def __init__(self, path: Path, X: Array, **columns: Any) -> None:
        super().__init__("", **columns)
        self.X = channels_first(f"{path}: X", X)
        check_images(f"{path}: X", self.X)

    def __len__(self) -> int:
        return len(self.X)

    def shapes(self, columns: Columns) -> Iterator[Shape]:
        """Yield the same shape for all."""
        height, width = columns.size or self.X.shape[2:]
        shape = Shape(default_channels(self.X.shape[1]), (height, width))
        return (shape for _ in range(len(self)))

    def image(self, row: int, columns: Columns) -> Floats:
        """Return one image."""
        values = to_unit(self.X[row])
        return values if columns.size is None else resize_image(values, columns.size)


class PackedImages(Images):
    """Image files end to end in one array of bytes: file i is ``blob[off[i]:off[i + 1]]``."""

    def __init__(self, path: Path, name: str, blob: Array, off: Array, **columns: Any) -> None:
        super().__init__(name, **columns)
        self.path, self.blob, self.off = path, blob, off
        lead = f"{path}: {name}_"
        if blob.ndim != 1 or blob.dtype != np.uint8:
            raise DataError(f"{lead}blob is {blob.shape} of {blob.dtype}; needed: bytes (uint8)")
        if off.ndim != 1 or off.dtype.kind not in "iu" or len(off) < 2:
            raise DataError(f"{lead}off is {off.shape} of {off.dtype}; needed: n + 1 whole numbers")
        off = off.astype(np.int64)
        if off[0] < 0 or off[-1] > len(blob) or (np.diff(off) < 0).any():
            raise DataError(
                f"{lead}off does not rise from 0 to the {len(blob)} bytes of {name}_blob"
            )

    def __len__(self) -> int:
        return len(self.off) - 1

    def shapes(self, columns: Columns) -> Iterator[Shape]:
        """Yield shapes from the headers; an image whose header is damaged has the one before it.

        So a damaged image is found when it is decoded, and costs itself alone.
        """
        last: Shape | None = None
        waiting = 0
        for row in range(len(self)):
            try:
                size, count = read_header(self._name(row), self._file(row), columns.colour)
            except DataError:
                if last is None:
                    waiting += 1
                    continue
            else:
                last = Shape(channel_names(count), columns.size or size)
            assert last is not None
            yield from [last] * (waiting + 1)
            waiting = 0
        if waiting:
            raise DataError(f"{self.path}: none of the {waiting} images of {self.name} can be read")

    def image(self, row: int, columns: Columns) -> Floats:
        """Decode one image."""
        return decode_image(self._name(row), self._file(row), columns.colour, columns.size)

    def _name(self, row: int) -> str:
        return f"{self.path}#{self.name}{row}"

    def _file(self, row: int) -> io.BytesIO:
        return io.BytesIO(self.blob[int(self.off[row]) : int(self.off[row + 1])].tobytes())
