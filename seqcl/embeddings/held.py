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
_BYTES = 100 << 20
"""What all held rows may take, whatever their size."""
_RANK = 1e-6
"""Share of all squares below which a direction is rounding, in float32."""


class HeldRows:
    """Means of records, and differences from the mean of what is alike, of bounded memory.

    Attributes:
        means: (n, D), one a record.
        inner: (m, D).
        things: how many means the differences are from.
        complete: whether no row was dropped.
    """

    def __init__(self, size: int) -> None:
        self.means = torch.zeros(0, size)
        self.inner = torch.zeros(0, size)
        self.things = 0
        self.complete = True
        rows = _BYTES // (4 * size * world_size())
        self.most_means = max(2, min(SAMPLE // world_size(), rows // 5))
        self.most_inner = max(2, rows - self.most_means)

    def add(self, pooled: Tensor, record: Tensor, alike: Tensor) -> None:
        """Hold what there is room for of rows (R, D); thin out the differences where it is full."""
        inner, things = centred_on(pooled, alike)
        self.things += things
        self.means = torch.cat([self.means.to(pooled), means_of(pooled, record)[0]])
        self.inner = torch.cat([self.inner.to(pooled), inner])
        if len(self.means) > self.most_means or len(self.inner) > self.most_inner:
            self.complete = False
            self.means = _thinned(self.means, self.most_means)
            self.inner = _thinned(self.inner, self.most_inner)

    def gather(self) -> None:
        """Join the rows of all processes, in order of rank, so that all have the same."""
        if world_size() == 1:
            return
        facts = gather_rows(torch.tensor([[self.things, int(self.complete)]]))
        self.means, self.inner = gather_rows(self.means), gather_rows(self.inner)
        self.things, self.complete = int(facts[:, 0].sum()), bool(facts[:, 1].all())

    def basis(self, mean: Tensor) -> Tensor:
        """Return orthonormal columns (D, q): leading differences, then what the records add."""
        records = self.means - mean
        inner = _thinned(self.inner, _ROWS)
        rounding = _RANK * max(_largest(records), _largest(inner))
        leading = _span(inner, DIRECTIONS, rounding)
        for _ in range(2):  # once leaves rounding of 1e-4 where features are many
            records = records - (records @ leading) @ leading.T
        return torch.cat([leading, _span(records, SAMPLE, rounding)], 1)


def means_of(vectors: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of the rows (R, q) of each code, and the place (R,) of each row's mean."""
    names, place = torch.unique(code, return_inverse=True)
    sums = vectors.new_zeros(len(names), vectors.shape[1]).index_add_(0, place, vectors)
    return sums / place.bincount(minlength=len(names)).to(vectors.dtype)[:, None], place


def centred_on(vectors: Tensor, code: Tensor) -> tuple[Tensor, int]:
    """Return rows (R, q) less the mean of their code, and how many codes there are."""
    means, place = means_of(vectors, code)
    return vectors - means[place], len(means)


def _thinned(rows: Tensor, most: int) -> Tensor:
    """Keep at most `most` of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most, device=rows.device).long()]


def _largest(rows: Tensor) -> float:
    return float(rows.square().sum())


def _span(rows: Tensor, most: int, rounding: float) -> Tensor:
    """Return up to `most` leading orthonormal directions (D, r) of what `rows` (R, D) span."""
    spectrum, sides = torch.linalg.eigh((rows @ rows.T).double())
    kept = min(most, int((spectrum > rounding).sum()))
    spectrum, sides = spectrum.flip(0)[:kept], sides.flip(1)[:, :kept]
    directions: Tensor = rows.T @ (sides / spectrum.sqrt()).to(rows.dtype)
    return directions
