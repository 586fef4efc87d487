"""Probe: how well labels can be told from embeddings, while an encoder trains."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from seqcl.batch import Batch
from seqcl.methods.base import Method
from seqcl.metrics.ridge import fit_ridge, one_vs_rest
from seqcl.metrics.similarity import similarity_blocks

__all__ = ["Probe", "encoded"]

Floats = npt.NDArray[np.float32]

_AT_ONCE = 64
"""Records encoded together: less memory than a training step takes."""

_FOLDS = 5
_PENALTIES = tuple(np.logspace(-3, 3, 10).tolist())
_FLAT = 1e-7
"""Spread over mean below which a float32 dimension is constant up to rounding."""


class Probe:
    """Judges the embeddings of labelled validation records, each by records of other groups.

    So no label of a training record is needed, the encoder learns from none, and windows of one
    recording do not vouch for each other. The figures are for watching a run, not for reporting
    one: they stand on some hundred records, where `seqcl evaluate` learns from training records.

    Args:
        records: labelled, unaugmented, as an encoder takes them; labels are class codes.

    Raises ValueError where the records have no labels or are of a single group.
    """

    def __init__(self, records: Batch) -> None:
        if records.labels is None:
            raise ValueError("Probe: the records have no labels")
        self.records = records
        self.codes = _numbered(records.labels.cpu().numpy())
        groups = records.ids if records.groups is None else records.groups
        self.units = _numbered(groups.cpu().numpy())
        self.folds = min(_FOLDS, int(self.units.max()) + 1)
        if self.folds < 2:
            raise ValueError("Probe: the records are of one group; at least two are needed")

    def measure(self, method: Method) -> dict[str, float]:
        """Return accuracies, 0 to 1, higher = better; `method` is in eval mode and stays as it is.

        `val_knn` of the nearest record of another group by the cosine, `val_ridge` of a ridge
        classifier on standardised dimensions, fitted to four fifths of the groups. Nothing ({})
        where embeddings are not finite.
        """
        with torch.no_grad():
            (values,) = encoded(method, (self.records,))
        if not np.isfinite(values).all():
            return {}
        return {"val_knn": self._knn(values), "val_ridge": self._ridge(values)}

    def _knn(self, values: Floats) -> float:
        right = 0
        for rows, cosines in similarity_blocks(values, values, "cosine"):
            cosines[self.units[rows, None] == self.units] = -np.inf
            right += int((self.codes[cosines.argmax(1)] == self.codes[rows]).sum())
        return right / len(values)

    def _ridge(self, values: Floats) -> float:
        wide = values.astype(np.float64)
        mean, spread = wide.mean(0), wide.std(0)
        scaled = (wide - mean) / np.where(spread > _FLAT * np.abs(mean), spread, np.inf)
        targets = one_vs_rest(self.codes, int(self.codes.max()) + 1)
        fold = np.random.default_rng(0).permutation(self.units.max() + 1)[self.units] % self.folds
        right = 0
        for number in range(self.folds):
            inside = fold != number
            fit = fit_ridge(scaled[inside], targets[inside], _PENALTIES)
            scores = scaled[~inside] @ fit.weights + fit.bias
            right += int((scores.argmax(1) == self.codes[~inside]).sum())
        return right / len(scaled)


def encoded(method: Method, views: tuple[Batch, ...]) -> list[Floats]:
    """Return the embeddings (N, D) of each view, encoded in slices."""
    parts = []
    for start in range(0, len(views[0]), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        pooled = method.encode(tuple(view[rows] for view in views))
        parts.append([each.pooled.float().cpu().numpy() for each in pooled])
    return [np.concatenate(view) for view in zip(*parts, strict=True)]


def _numbered(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
