"""Rows that a first pass holds, and the basis that they give."""

from __future__ import annotations

import torch
from torch import Tensor

from seqcl.distributed import gather_rows, world_size

__all__ = ["DIRECTIONS", "SAMPLE", "HeldRows", "centred_on", "means_of"]

SAMPLE = 512
"""Records of the first pass, at most."""
DIRECTIONS = 512
"""Leading directions of the differences that a basis has, at most."""
_ROWS = 1536
"""Differences that the leading directions are found from."""
_BYTES = 256 << 20
"""What all held rows may take; means go first."""
_RANK = 1e-6
"""Share of all squares below which a direction is rounding, in float32."""


class HeldRows:
    """Means of records, and differences from the mean of what is alike.

    Attributes:
        means: one a record, (n, D).
        inner: (m, D).
        things: how many means the differences are from.
        complete: whether all is there: no row was dropped, and no thing was shown in parts.
    """

    def __init__(self, size: int) -> None:
        world = world_size()
        rows = _BYTES // (4 * size * world)
        most_means = max(2, min(SAMPLE // world, rows // 2))
        self._means = _EvenRows(size, most_means)
        self._inner = _EvenRows(size, max(2, min(_ROWS // world, rows - most_means)))
        self._codes: list[Tensor] = []
        self.things = 0
        self.complete = True

    @property
    def means(self) -> Tensor:
        """(n, D)."""
        return self._means.kept

    @property
    def inner(self) -> Tensor:
        """(m, D)."""
        return self._inner.kept

    def add(self, pooled: Tensor, record: Tensor, alike: Tensor) -> None:
        """Hold what there is room for of rows (R, D); thin out evenly where it is full."""
        inner, codes = centred_on(pooled, alike)
        self.things += len(codes)
        self._codes.append(codes)
        self._means.add(means_of(pooled, record)[0])
        self._inner.add(inner)

    def gather(self, device: torch.device) -> None:
        """Join the rows of all processes, in order of rank, on `device`: all have the same."""
        own = torch.cat(self._codes) if self._codes else torch.zeros(0, dtype=torch.int64)
        codes = gather_rows(own.to(device))
        self.things = len(codes)
        every = torch.tensor([[self._means.every * self._inner.every]], device=codes.device)
        dropped = bool((gather_rows(every) > 1).any())
        self.complete = not dropped and len(torch.unique(codes)) == len(codes)
        self._means.gather(device)
        self._inner.gather(device)

    def basis(self, mean: Tensor) -> Tensor:
        """Return orthonormal columns (D, q): leading differences, then what the records add."""
        records = self.means - mean
        rounding = _RANK * max(_largest(records), _largest(self.inner))
        leading = _span(self.inner, DIRECTIONS, rounding)
        for _ in range(2):  # once leaves rounding of 1e-4 where features are many
            records = records - (records @ leading) @ leading.T
        return torch.cat([leading, _span(records, SAMPLE, rounding)], 1)


def means_of(vectors: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of the rows (R, q) of each code, and the place (R,) of each row's mean."""
    names, place = torch.unique(code, return_inverse=True)
    sums = vectors.new_zeros(len(names), vectors.shape[1]).index_add_(0, place, vectors)
    return sums / place.bincount(minlength=len(names)).to(vectors.dtype)[:, None], place


def centred_on(vectors: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows (R, q) less the mean of their code, and the codes (n,)."""
    means, place = means_of(vectors, code)
    return vectors - means[place], torch.unique(code)


class _EvenRows:
    """At most `most` of the rows that are added, evenly spread over all of them.

    Attributes:
        every: each how many-th row is kept.
    """

    def __init__(self, size: int, most: int) -> None:
        self.most = most
        self.every = 1
        self._room = torch.zeros(0, size)
        self._count = 0
        self._seen = 0

    @property
    def kept(self) -> Tensor:
        """(n, D)."""
        return self._room[: self._count]

    def add(self, rows: Tensor) -> None:
        """Keep the rows (R, D) whose turn it is; every second of all where there are too many."""
        if not self._seen:
            self._room = rows.new_empty(self.most, rows.shape[1])  # a system gives it as it fills
        first = -self._seen % self.every
        self._seen += len(rows)
        rows = rows[first :: self.every]
        while self._count + len(rows) > self.most:
            self.every *= 2
            rows = rows[self._count % 2 :: 2]
            half = self.kept[::2].clone()
            self._count = len(half)
            self.kept[:] = half
        self._count += len(rows)
        self.kept[self._count - len(rows) :] = rows

    def gather(self, device: torch.device) -> None:
        """Join the rows of all processes, in order of rank; one that saw none has none to give."""
        self._room = gather_rows(self.kept.to(device))
        self._count = len(self._room)


def _largest(rows: Tensor) -> float:
    return float(rows.square().sum())


def _span(rows: Tensor, most: int, rounding: float) -> Tensor:
    """Return up to `most` leading orthonormal directions (D, r) of what `rows` (R, D) span."""
    spectrum, sides = torch.linalg.eigh((rows @ rows.T).double())
    kept = min(most, int((spectrum > rounding).sum()))
    spectrum, sides = spectrum.flip(0)[:kept], sides.flip(1)[:, :kept]
    directions: Tensor = rows.T @ (sides / spectrum.sqrt()).to(rows.dtype)
    return directions
