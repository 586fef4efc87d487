"""The spectral embedding: what tells records apart, in units of what views change."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional as F

from seqcl.embeddings.base import Alike
from seqcl.embeddings.closed_form import ClosedForm
from seqcl.embeddings.held import DIRECTIONS
from seqcl.embeddings.sums import ViewSums, real_directions
from seqcl.registry import Spec
from seqcl.views.base import ViewGenerator

__all__ = ["Spectral"]


class Spectral(ClosedForm):
    """Whiten by the covariance within the views of a record, then keep the principal axes.

    With S_b the covariance of the records and S_w that of the views around their record, the map
    is ``y = V^T (S_w + r I)^(-1/2) (x - mean)``, V the leading eigenvectors of the whitened S_b,
    rotated: the generalised eigenproblem ``S_b v = l (S_w + r I) v``. No gradient and no labels.
    For linear maps on fixed features it is the optimum of the spectral contrastive loss (HaoChen
    et al. 2021, arXiv 2106.04156) and, with a ridge, of VICReg (Balestriero and LeCun 2022, arXiv
    2205.11508).

    A second whitening ignores what tells nearest neighbours apart: records of a sample of 512 that
    are mutually among their `neighbours` nearest count as views of one another, as neighbours do
    in NNCLR (Dwibedi et al. 2021, arXiv 2104.14548).

    With ``alike: label`` it is linear discriminant analysis, and with speakers as groups the
    within-class covariance normalisation of speaker verification (Hatch et al. 2006).

    Args:
        in_dim: D, features of the encoder.
        dim: dimensions that are kept at most; fewer where fewer records span fewer.
        ridge: r over the mean of the leading eigenvalues of S_w; None = the shrinkage of least
            expected error (Ledoit and Wolf 2004), which needs no labels either.
        neighbours: how many nearest records count; 0 leaves the second whitening out.
        alike: whose differences are to be ignored: those of a record's views, of all records
            of a group, or of a label. Records without one are alike only to themselves, so that
            some labels may be unknown.
        views: what makes the views; None = the preset's `views`.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        dim: Annotated[int, Ge(1)] = 512,
        ridge: Annotated[float, Gt(0)] | None = 0.3,
        neighbours: Annotated[int, Ge(0)] = 3,
        alike: Alike = "record",
        views: Spec[ViewGenerator] | None = None,
    ) -> None:
        super().__init__(in_dim, dim)
        self.ridge, self.neighbours = ridge, neighbours
        self.alike, self.views = alike, views

    def directions(self, sums: ViewSums, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Solve the eigenproblem in the basis."""
        whitening = _flattened(sums.within, self._ridge(sums), min(sums.freedom, DIRECTIONS))
        if self.neighbours:
            apart = _mutual_differences(sample @ whitening, self.neighbours)
            if len(apart):
                scatter = apart.T @ apart / (2 * len(apart))
                whitening = whitening @ _flattened(scatter, 1.0, len(apart))
        columns, variance = real_directions(whitening.T @ sums.between @ whitening)
        return whitening @ columns, variance

    def _ridge(self, sums: ViewSums) -> float:
        if self.ridge is not None:
            return self.ridge
        shrinkage = sums.shrinkage()
        return shrinkage / max(1 - shrinkage, 1e-6)


def _flattened(covariance: Tensor, ridge: float, rank: int) -> Tensor:
    """Return columns (q, q) that shrink what varies: ``(C + r I)^(-1/2)``, 1 where nothing does.

    `ridge` is r over the mean of the `rank` eigenvalues that can differ from 0.
    """
    spread, axes = torch.linalg.eigh(covariance)
    spread = spread.clamp(min=0)
    floor = ridge * spread.sum() / max(1, min(len(spread), rank))
    shrink: Tensor = torch.where(floor > 0, floor / (spread + floor), torch.ones_like(spread))
    columns: Tensor = axes * shrink.sqrt()
    return columns


def _mutual_differences(records: Tensor, count: int) -> Tensor:
    """Return differences (m, q) of records (n, q) that are among each other's `count` nearest."""
    records = records - records.mean(0)
    near = F.normalize(records) @ F.normalize(records).T
    near.fill_diagonal_(-torch.inf)
    chosen = torch.zeros_like(near, dtype=torch.bool)
    chosen.scatter_(1, near.topk(min(count, len(records) - 1)).indices, True)
    first, second = (chosen & chosen.T).triu().nonzero(as_tuple=True)
    return records[first] - records[second]
