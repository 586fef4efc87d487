"""What each test record contributed to a metric, so that intervals and differences follow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seqcl.metrics.classification import class_counts, classification_scores

__all__ = ["Averaged", "Decisions", "Means", "Outcomes"]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes(ABC):
    """Outcomes by test record; metrics are functions of how often each record is drawn."""

    ids: tuple[str, ...]
    """(N,) the test records that count, in order."""
    units: Counts | None = field(default=None, kw_only=True)
    """(N,) see `seqcl.evaluation.units`; None = each record is its own."""

    @abstractmethod
    def metrics(self, counts: Counts) -> dict[str, Floats]:
        """Return each metric (R,) for `counts` (R, N): how often resample r holds record n."""

    def values(self) -> dict[str, float]:
        """Return each metric over the records as they are."""
        whole = self.metrics(np.ones((1, len(self.ids)), np.int64))
        return {name: float(value[0]) for name, value in whole.items()}


@dataclass(frozen=True)
class Decisions(Outcomes):
    """One predicted class a record."""

    true: Counts
    predicted: Counts
    n_classes: int

    def metrics(self, counts: Counts) -> dict[str, Floats]:
        """Return accuracy, macro F1, precision and recall, and balanced accuracy."""
        return classification_scores(
            class_counts(self.true, self.predicted, self.n_classes, counts)
        )


@dataclass(frozen=True)
class Means(Outcomes):
    """One number a record and metric; the metric is their mean."""

    by_metric: Mapping[str, Floats]

    def metrics(self, counts: Counts) -> dict[str, Floats]:
        """Return the weighted mean of each."""
        total = counts.sum(1)
        return {name: counts @ values / total for name, values in self.by_metric.items()}


@dataclass(frozen=True)
class Averaged(Outcomes):
    """Several outcomes of the same records (one a draw of labels); the metric is their mean."""

    draws: tuple[Outcomes, ...]

    def metrics(self, counts: Counts) -> dict[str, Floats]:
        """Return the mean over the draws."""
        each = [draw.metrics(counts) for draw in self.draws]
        return {name: np.mean([one[name] for one in each], axis=0) for name in each[0]}
