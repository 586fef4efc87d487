"""ImageNpzReader: arrays of images, or image files packed into one array."""

from __future__ import annotations

import lzma
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from seqcl.batch import Axes, Entry, Label, Record
from seqcl.data.reader import Columns, Reader
from seqcl.errors import DataError
from seqcl.modalities.image.files import check_whole
from seqcl.modalities.image.images import ArrayImages, Images, PackedImages
from seqcl.modalities.sequence.arrays import array_labels, array_texts
from seqcl.modalities.sequence.collection import pick_channels
from seqcl.modalities.sequence.numpy_files import array_faults, open_archive, open_member
from seqcl.modalities.sequence.unpacking import refuse_bomb

__all__ = ["ImageNpzReader"]

_BLOB = "_blob"
_CHUNK = 1 << 24


class ImageNpzReader(Reader):
    """Reads the images of an ``.npz`` archive, or of one packed further as ``.npz.xz``.

    Either ``X``: (n, C, H, W), or (n, H, W, C) of at most 4 channels, or (n, H, W), of uint8,
    uint16, bool, or floats in [0, 1]; with ``y`` (n,) and ``groups`` (n,) where there are labels
    and groups, under other names by data.label and data.group. Or, for each split, image files end
    to end: ``train_blob`` bytes, ``train_off`` (n + 1,) where each begins, and ``train_y`` (n,),
    whole numbers that are places in ``classes`` where the archive has those. ``FILE:train`` is one
    split, ``FILE`` all of them.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".npz", ".npz.xz")
    layouts: ClassVar[tuple[Axes, ...]] = ("CHW",)
    has_splits: ClassVar[bool] = True

    def __init__(self, columns: Columns = Columns()) -> None:  # noqa: B008 - Columns is frozen
        super().__init__(columns)
        self._opened: dict[Path, tuple[Images, ...]] = {}

    def scan(self, path: Path) -> Iterator[Entry]:
        """Yield the images; ids are ``file#row``, or ``file#train12`` where there are splits."""
        for place, images in enumerate(self._images(path)):
            for row, shape in enumerate(images.shapes(self.columns)):
                chosen = pick_channels(path, shape.channels, self.columns.values)
                yield Entry(
                    path=path,
                    id=f"{path.name}#{images.name}{row}",
                    length=shape.size[0] * shape.size[1],
                    channels=tuple(shape.channels[channel] for channel in chosen),
                    label=None if images.labels is None else images.labels[row],
                    group=None if images.groups is None else images.groups[row],
                    key=f"{place}/{row}",
                    named=isinstance(images, PackedImages),
                    size=shape.size,
                )

    def read(self, entry: Entry, start: int, stop: int) -> Record:
        """Return one image; raises DataError where it is damaged."""
        check_whole(entry, start, stop)
        place, _, row = str(entry.key).partition("/")
        values = self._images(entry.path)[int(place)].image(int(row), self.columns)
        if self.columns.values is not None:
            names = next(self._images(entry.path)[int(place)].shapes(self.columns)).channels
            values = values[list(pick_channels(entry.path, names, self.columns.values))]
        return entry.record(values)

    def _images(self, path: Path) -> tuple[Images, ...]:
        if path not in self._opened:
            self._opened[path] = _open(path, self.columns)
        return self._opened[path]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}


def _open(path: Path, columns: Columns) -> tuple[Images, ...]:
    with array_faults(path), open_archive(path, _unpacked(path)) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        splits = sorted(name.removesuffix(_BLOB) for name in names if name.endswith(_BLOB))
        if "X" in names and columns.split is None:
            return (_array(path, archive, names, columns),)
        wanted = splits if columns.split is None else [columns.split]
        if not wanted or not set(wanted) <= set(splits):
            asked = "" if columns.split is None else f" for split {columns.split!r}"
            raise DataError(
                f"{path}: holds no images{asked}: no array 'X', or NAME_blob and NAME_off for a "
                f"split NAME; found: {', '.join(names) or 'nothing'}"
            )
        return tuple(_packed(path, archive, names, split) for split in wanted)


def _array(
    path: Path, archive: zipfile.ZipFile, names: Sequence[str], columns: Columns
) -> ArrayImages:
    X = open_member(path, archive, "X")
    found: dict[str, Any] = {"labels": None, "groups": None}
    for role, usual, asked in (("labels", "y", columns.label), ("groups", "groups", columns.group)):
        name = asked or usual
        if name in names:
            column = open_member(path, archive, name)
            _check_length(path, name, column.shape, len(X))
            found[role] = (
                array_labels(path, column) if role == "labels"
                else [str(text) for text in array_texts(path, name, column)]
            )  # fmt: skip
        elif asked:
            raise DataError(f"{path}: has no array {name!r}; found: {', '.join(names)}")
    return ArrayImages(path, X, **found)


def _packed(path: Path, archive: zipfile.ZipFile, names: Sequence[str], split: str) -> PackedImages:
    if f"{split}_off" not in names:
        raise DataError(f"{path}: has {split}_blob but no {split}_off, where each image begins")
    blob, off = (open_member(path, archive, f"{split}_{part}") for part in ("blob", "off"))
    labels: list[Label | None] | None = None
    if f"{split}_y" in names:
        y = open_member(path, archive, f"{split}_y")
        _check_length(path, f"{split}_y", y.shape, len(off) - 1)
        labels = array_labels(path, y)
        if "classes" in names:
            classes = array_texts(path, "classes", open_member(path, archive, "classes"))
            labels = [_class(path, split, classes, label) for label in labels]
    return PackedImages(path, split, blob, off, labels=labels)


def _class(path: Path, split: str, classes: Sequence[Any], label: Label | None) -> Label | None:
    if label is None:
        return None
    if not isinstance(label, int) or not 0 <= label < len(classes):
        raise DataError(
            f"{path}: {split}_y holds {label!r}; needed: places in {len(classes)} classes"
        )
    return str(classes[label])


def _check_length(path: Path, name: str, shape: tuple[int, ...], count: int) -> None:
    if shape != (count,):
        raise DataError(f"{path}: {name} is {shape} for {count} images; needed: ({count},)")


def _unpacked(path: Path) -> bytes | None:
    """Return the bytes inside an ``.xz`` file, None for another; stops at bombs."""
    if path.suffix != ".xz":
        return None
    parts: list[bytes] = []
    size, packed = 0, path.stat().st_size
    try:
        with lzma.open(path) as file:
            while part := file.read(_CHUNK):
                size += len(part)
                refuse_bomb(str(path), packed, size, "give it unpacked if it is meant to")
                parts.append(part)
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path}: is damaged ({error}); pack it again") from None
    return b"".join(parts)
