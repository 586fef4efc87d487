"""HDF5 files of unknown origin, opened so that they can show nothing but their own bytes.

HDF5 can point out of itself: external storage, external links on any part of a path, virtual
datasets. A small file can thus read another file of the machine, or claim terabytes.
"""

from __future__ import annotations

import math
from pathlib import Path

import h5py

from seqcl.errors import ArtefactError, DataError, MissingInputError

__all__ = ["hdf5_dataset", "open_hdf5"]

_LARGEST_RATIO = 1000
"""Declared bytes for each byte that a compressed dataset stores; deflate ends at 1,032."""


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading, without a chunk cache: random windows never meet a chunk again.

    Raises MissingInputError where it is not there, DataError where it is not HDF5 or cut short.
    """
    try:
        return h5py.File(path, "r", rdcc_nbytes=0, locking=False)
    except (FileNotFoundError, PermissionError) as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except OSError as error:
        reason = str(error).rpartition("(")[2].rstrip(")")
        raise DataError(f"{path}: is not a whole HDF5 file: {reason}") from None


def hdf5_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return the dataset at `name` once nothing about it can lead out of the file.

    Raises:
        ArtefactError: a soft or external link on the way, external or virtual storage, or a
            declared size that the stored bytes cannot hold.
        DataError: no such dataset, or one that needs a filter which is not installed.
    """
    where = f"{file.filename}: {name}"
    item: h5py.Group | h5py.Dataset = file
    for part in name.strip("/").split("/"):
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if link is None:
            raise DataError(f"{where}: no such dataset; there are: {', '.join(file) or 'none'}")
        if not isinstance(link, h5py.HardLink):
            raise ArtefactError(
                f"{where}: {part!r} is a link, which may lead out of the file; {_COPY}"
            )
        item = item[part]
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{where}: is a group, needed is a dataset; it holds: {', '.join(item)}")
    _check_storage(item, where)
    _check_filters(item, where)
    _check_size(item, where)
    return item


_COPY = "write the values into the file itself"


def _check_storage(dataset: h5py.Dataset, where: str) -> None:
    if dataset.external is not None:
        raise ArtefactError(f"{where}: keeps its values in another file; {_COPY}")
    if dataset.is_virtual:
        raise ArtefactError(f"{where}: is a virtual dataset, a view of other files; {_COPY}")


def _check_filters(dataset: h5py.Dataset, where: str) -> None:
    plist = dataset.id.get_create_plist()
    for number in range(plist.get_nfilters()):
        code, _, _, name = plist.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            label = name.decode(errors="replace") or "unnamed"
            raise DataError(
                f"{where}: needs the HDF5 filter {code} ({label}), which is not installed; "
                "write it again without compression, or with gzip"
            )


def _check_size(dataset: h5py.Dataset, where: str) -> None:
    """Compare what the header declares with what the file can hold."""
    declared = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    on_disk = Path(dataset.file.filename).stat().st_size
    packed = dataset.id.get_create_plist().get_nfilters() > 0
    most = stored * _LARGEST_RATIO if packed else stored
    if stored > on_disk or declared > most:
        raise ArtefactError(
            f"{where}: declares {declared} bytes {dataset.shape}, stores {stored} in a file of "
            f"{on_disk}; it is cut short or made to exhaust memory"
        )
