"""ClosedForm: a linear map solved from moments of views, in bounded memory, over processes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from seqcl.embeddings.base import Embedding
from seqcl.embeddings.held import SAMPLE, HeldRows
from seqcl.embeddings.sums import ViewSums
from seqcl.errors import EmbeddingError

__all__ = ["ClosedForm"]


class ClosedForm(Embedding):
    """Fitted in two passes, or in one where its sample is all there is.

    The first pass finds a basis: the leading 512 directions of the views' differences, and all
    that the records (at most 512 of them; fewer above 65,000 features) span besides. Unlike a
    basis of principal components it loses nothing that tells so many records apart. The second
    pass sums moments in that basis over all data. Memory grows with the features, to 500 MB at
    13,608, and not with the records; sums run over processes.

    A subclass writes `directions`.

    Attributes:
        mean: (D,), of the records.
        weight: (D, E); (D, 0) before it is solved, when `pooled` passes unchanged: its control.
    """

    passes = 2
    sample = SAMPLE

    mean: Tensor
    weight: Tensor

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__(in_dim)
        self.dim = dim
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("weight", torch.zeros(in_dim, 0))
        self._held = HeldRows(in_dim)
        self._basis: Tensor | None = None
        self._sums: ViewSums | None = None
        self._sample = torch.zeros(0, 0)

    @property
    def out_dim(self) -> int:
        """E, dimensions that are kept."""
        return self.weight.shape[1] or self.in_dim

    @abstractmethod
    def directions(self, sums: ViewSums, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Return columns (q, k) of the map in the basis, most important last, and their variance.

        The variance (k,) is that of the records; directions of rounding alone are left out.

        Args:
            sums: of all data.
            sample: (n, q) records of the first pass in the basis, float64.
        """

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (N, D) to (N, E)."""
        pooled = self.levelled(pooled)
        if not self.weight.shape[1]:
            return pooled
        return (pooled - self.mean) @ self.weight

    @torch.no_grad()
    def update(self, pooled: Tensor, record: Tensor, alike: Tensor | None = None) -> None:
        """Hold rows in the first pass; add to the sums in the second."""
        pooled = self.levelled(pooled.detach().float())
        if self._basis is None or self._sums is None:
            thing = record if alike is None else alike
            self._held.add(pooled, record, thing)
        else:
            self._sums.add((pooled - self.mean) @ self._basis, record, alike)

    @torch.no_grad()
    def solve(self, whole: bool = True) -> bool:
        """Find the basis after the first pass, and the map as soon as all has been seen."""
        if self._basis is None or self._sums is None:
            done = self._begin(whole)
        else:
            self._sums.reduce()
            done = True
        if done:
            self._determine()
        return done

    def _begin(self, whole: bool) -> bool:
        """Take the basis from the held rows, and their sums where they are all there is."""
        held, self._held = self._held, HeldRows(self.in_dim)
        held.gather(self.mean.device)
        if len(held.means) < 2:
            raise EmbeddingError(
                f"{type(self).__name__}: {len(held.means)} record to tell apart; "
                "at least 2 are needed"
            )
        self.mean = held.means.mean(0)
        self._basis = held.basis(self.mean)
        if not self._basis.shape[1]:
            raise EmbeddingError(
                f"{type(self).__name__}: {len(held.means)} records with the same features cannot "
                "be told apart"
            )
        self._sums = ViewSums(self._basis.shape[1], self._basis.device)
        self._sample = ((held.means - self.mean) @ self._basis).double()
        if whole and held.complete:
            self._sums.add_held(held, self.mean, self._basis)
            return True
        return False

    def _determine(self) -> None:
        """Bring the leading directions to a mean variance of 1, in terms of features.

        Then they are rotated among one another until all dimensions vary about alike: distances
        and angles stay, and a classifier that standardises each dimension no longer raises the
        least of them to the weight of the first.
        """
        sums, basis = self._sums, self._basis
        assert sums is not None
        assert basis is not None
        columns, variance = self.directions(sums, self._sample)
        kept = max(1, min(self.dim, len(variance), sums.records - 1))
        columns = columns.flip(1)[:, :kept] / variance[-kept:].mean().sqrt()
        columns = columns @ _hartley(kept, columns)
        self.mean = self.mean + basis @ sums.mean.to(basis.dtype)
        self.weight = basis @ columns.to(basis.dtype)
        self._basis, self._sums, self._sample = None, None, torch.zeros(0, 0)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any
    ) -> None:
        """Take the number of kept dimensions from what is loaded."""
        weight = state_dict.get(f"{prefix}weight")
        if isinstance(weight, Tensor) and weight.dim() == 2 and len(weight) == self.in_dim:
            self.weight = self.weight.new_zeros(weight.shape)
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _hartley(size: int, like: Tensor) -> Tensor:
    """Return the orthogonal matrix of the discrete Hartley transform, whose entries are alike."""
    place = torch.arange(size, dtype=like.dtype, device=like.device)
    angle = torch.outer(place, place) * (2 * math.pi / size)
    return (angle.cos() + angle.sin()) / math.sqrt(size)
