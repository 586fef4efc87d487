"""ImageFileReader: one image a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from seqcl.batch import Axes, Entry, Record
from seqcl.data.reader import Reader
from seqcl.modalities.image.decoding import channel_names, decode_image, read_header
from seqcl.modalities.sequence.collection import pick_channels

__all__ = ["ImageFileReader", "check_whole"]


class ImageFileReader(Reader):
    """Reads PNG, JPEG, WebP, BMP, TIFF and PNM files of 8 or 16 bits.

    Channels are red, green and blue; ``data.colour`` asks for grey, or for each file's own.
    ``data.size`` resizes. A scan reads headers alone; a damaged image is found when it is decoded.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm",
    )  # fmt: skip
    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)
    has_columns: ClassVar[bool] = False

    def scan(self, path: Path) -> Iterator[Entry]:
        """Yield the one image of a file; raises DataError where it is none."""
        size, count = read_header(str(path), path, self.columns.colour)
        height, width = size = self.columns.size or size
        names = channel_names(count)
        chosen = pick_channels(path, names, self.columns.values)
        yield Entry(
            path=path,
            id=path.name,
            length=height * width,
            channels=tuple(names[place] for place in chosen),
            named=True,
            size=size,
        )

    def read(self, entry: Entry, start: int, stop: int) -> Record:
        """Decode the image; raises DataError where it is damaged."""
        check_whole(entry, start, stop)
        columns = self.columns
        values = decode_image(str(entry.path), entry.path, columns.colour, columns.size)
        if columns.values is not None:
            values = values[list(pick_channels(entry.path, channel_names(len(values)),
                                               columns.values))]  # fmt: skip
        return entry.record(values)


def check_whole(entry: Entry, start: int, stop: int) -> None:
    """Raise IndexError for anything but the whole of an image."""
    if (start, stop) != (0, entry.length):
        raise IndexError(
            f"{entry.id}: steps {start} to {stop} of {entry.length}; images are read whole"
        )
