"""Shards: the unit vectors of an index as .npy files that are written once and never changed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqcl.errors import DataError
from seqcl.files import atomic_write, check_sha256, sha256

__all__ = ["Precision", "Shard", "Shards", "unit_vectors", "write_shard"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
_Stored = npt.NDArray[Any]
"""float32, float16, int8, uint8 with two dimensions in a byte, or records with four in a byte,
whose only field is named by how many dimensions there are."""
Precision = Literal["float32", "float16", "int8", "int4", "int2"]
"""Of the stored vectors. `int8` keeps a byte a dimension, `int4` half of one: the largest magnitude
of a vector becomes 127 or 7. `int2` keeps a quarter: -3, -1, 1 or 3 halves of the step that loses
least of normal values; there is no 0 in it. What is read has length 1 again, so that no scale is
needed."""
_STEP = 0.9957
"""Of four levels, in deviations (Max 1960, IRE Transactions on Information Theory 6, table II)."""
_PLACES = 2 * np.arange(4, dtype=np.uint8)
"""Bits of four dimensions in a byte."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of vectors: those of the entries `first` to ``first + rows - 1``."""

    first: int
    rows: int
    name: str
    sha256: str


class Shards:
    """Reads vectors by entry id; a file is checked against its sha256 when it is first used.

    Args:
        folder: where the files are.
        shards: by rising `first`, without a gap between them.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard]) -> None:
        self.folder = folder
        self.shards = tuple(shards)
        self._firsts = np.array([shard.first for shard in shards], dtype=np.int64)
        self._open: dict[int, _Stored] = {}

    def __len__(self) -> int:
        return self.shards[-1].first + self.shards[-1].rows if self.shards else 0

    def check(self) -> None:
        """Raise ArtefactError where a file is not the one that was written."""
        for shard in self.shards:
            _check(self.folder / shard.name, shard)

    def read(self, ids: Ints) -> Floats:
        """Return the vectors of some entries, (n, E) float32."""
        owner = np.searchsorted(self._firsts, ids, side="right") - 1
        parts = np.unique(owner).tolist()
        width = self._width(parts[0] if parts else 0)
        found = np.empty((len(ids), width), dtype=np.float32)
        for number in parts:
            mine = owner == number
            found[mine] = _restored(self._array(number)[ids[mine] - self._firsts[number]])
        return found

    def blocks(self, rows: int = 1 << 16) -> Iterator[tuple[int, Floats]]:
        """Yield (first id, vectors (n, E)) over all vectors, dead ones too, `rows` at most."""
        for number, shard in enumerate(self.shards):
            values = self._array(number)
            for start in range(0, shard.rows, rows):
                part = values[start : start + rows]
                yield shard.first + start, np.ascontiguousarray(_restored(part))

    def _width(self, number: int) -> int:
        return int(_restored(self._array(number)[:1]).shape[1])

    def _array(self, number: int) -> _Stored:
        if number not in self._open:
            self._open[number] = _read(self.folder / self.shards[number].name, self.shards[number])
        return self._open[number]


def write_shard(folder: Path, first: int, vectors: Floats, precision: Precision) -> Shard:
    """Write vectors (n, E) as a new file, whole or not at all."""
    stream = io.BytesIO()
    np.save(stream, _coded(vectors, precision))
    path = folder / f"{first:010d}-{token_hex(4)}.npy"
    atomic_write(path, stream.getvalue())
    return Shard(first, len(vectors), path.name, sha256(path))


def unit_vectors(values: Floats, names: Sequence[str]) -> Floats:
    """Return rows (n, E) of length 1, the same bits for a row in any company; 0 stays 0.

    Raises DataError naming the first record whose embedding is not finite.
    """
    wide = values.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        raise DataError(
            f"{names[int(bad[0])]}: its embedding is not finite; leave it out, or where it is "
            "not alone in this, pretrain again"
        )
    unit: Floats = (wide / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    return unit


def _coded(vectors: Floats, precision: Precision) -> _Stored:
    """Return what is stored of unit vectors (n, E); `int4` has two dimensions in a byte."""
    if precision in ("float32", "float16"):
        return vectors.astype(precision)
    if precision == "int2":
        return _quarters(vectors)
    top = 127 if precision == "int8" else 7
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    whole = np.rint(vectors * (top / np.where(largest > 0, largest, 1.0))).astype(np.int8)
    if precision == "int8":
        return whole
    halves = (whole + 8).astype(np.uint8)  # 1 to 15; 0 fills the byte of an odd last dimension
    halves = np.pad(halves, ((0, 0), (0, vectors.shape[1] % 2)))
    return halves[:, ::2] | halves[:, 1::2] << 4


def _quarters(vectors: Floats) -> _Stored:
    """Return unit vectors (n, E) as records, four dimensions in a byte."""
    count, width = vectors.shape
    levels = np.clip(np.floor(vectors * (width**0.5 / _STEP)) + 2, 0, 3).astype(np.uint8)
    padded = np.pad(levels, ((0, 0), (0, -width % 4))).reshape(count, -1, 4)
    found: _Stored = np.bitwise_or.reduce(padded << _PLACES, axis=2)
    return found.view([(str(width), np.uint8, (found.shape[1],))])[:, 0]


def _restored(stored: _Stored) -> Floats:
    """Return stored rows (n, E) as float32; whole numbers become unit vectors again."""
    if stored.dtype.names:
        (width,) = stored.dtype.names
        quarters = (stored[width][:, :, None] >> _PLACES & 3).reshape(len(stored), -1)
        values = 2 * quarters[:, : int(width)].astype(np.float32) - 3
    elif stored.dtype == np.uint8:
        halves = np.stack((stored & 15, stored >> 4), axis=2).reshape(len(stored), -1)
        if len(halves) and not halves[0, -1]:
            halves = halves[:, :-1]
        values = halves.astype(np.float32) - 8
    else:
        values = stored.astype(np.float32)
        if stored.dtype != np.int8:
            return values
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values))  # of whole numbers: exact
    unit: Floats = values / np.where(lengths > 0, lengths, np.float32(1.0))[:, None]
    return unit


def _read(path: Path, shard: Shard) -> _Stored:
    """Map a file into memory; raises ArtefactError where it is not the one that was written."""
    _check(path, shard)
    values: _Stored = np.load(path, mmap_mode="r", allow_pickle=False)
    return values


def _check(path: Path, shard: Shard) -> None:
    check_sha256(path, shard.sha256, "index again into a new --out")
