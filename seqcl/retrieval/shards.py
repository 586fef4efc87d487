"""Shards: the unit vectors of an index as .npy files that are written once and never changed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Literal

import numpy as np
import numpy.typing as npt

from seqcl.errors import ArtefactError
from seqcl.files import atomic_write, check_sha256, sha256

__all__ = ["Precision", "Shard", "Shards", "unit_vectors", "write_shard"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Precision = Literal["float32", "float16"]


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
        self._open: dict[int, npt.NDArray[np.floating]] = {}

    def __len__(self) -> int:
        return self.shards[-1].first + self.shards[-1].rows if self.shards else 0

    def read(self, ids: Ints) -> Floats:
        """Return the vectors of some entries, (n, E) float32."""
        owner = np.searchsorted(self._firsts, ids, side="right") - 1
        parts = np.unique(owner).tolist()
        width = self._array(parts[0] if parts else 0).shape[1]
        found = np.empty((len(ids), width), dtype=np.float32)
        for number in parts:
            mine = owner == number
            found[mine] = self._array(number)[ids[mine] - self._firsts[number]]
        return found

    def blocks(self, rows: int = 1 << 16) -> Iterator[tuple[int, Floats]]:
        """Yield (first id, vectors (n, E)) over all vectors, dead ones too, `rows` at most."""
        for number, shard in enumerate(self.shards):
            values = self._array(number)
            for start in range(0, shard.rows, rows):
                part = values[start : start + rows]
                yield shard.first + start, np.ascontiguousarray(part, dtype=np.float32)

    def _array(self, number: int) -> npt.NDArray[np.floating]:
        if number not in self._open:
            self._open[number] = _read(self.folder / self.shards[number].name, self.shards[number])
        return self._open[number]


def write_shard(folder: Path, first: int, vectors: Floats, precision: Precision) -> Shard:
    """Write vectors (n, E) as a new file, whole or not at all."""
    stream = io.BytesIO()
    np.save(stream, vectors.astype(precision))
    path = folder / f"{first:010d}-{token_hex(4)}.npy"
    atomic_write(path, stream.getvalue())
    return Shard(first, len(vectors), path.name, sha256(path))


def unit_vectors(values: Floats, names: Sequence[str]) -> Floats:
    """Return rows (n, E) of length 1, the same bits for a row in any company; 0 stays 0.

    Raises ArtefactError naming the first record whose embedding is not finite.
    """
    wide = values.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        raise ArtefactError(
            f"{names[int(bad[0])]}: its embedding is not finite; the run is of no use for these "
            "data, pretrain again"
        )
    unit: Floats = (wide / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    return unit


def _read(path: Path, shard: Shard) -> npt.NDArray[np.floating]:
    """Map a file into memory; raises ArtefactError where it is not the one that was written."""
    check_sha256(path, shard.sha256, "index again into a new --out")
    values: npt.NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    return values
