"""k-nearest-neighbour classification of frozen embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from seqcl.batch import Embeddings
from seqcl.evaluation.base import Evaluator, Report
from seqcl.evaluation.decisions import decision_report
from seqcl.evaluation.inputs import label_sets, metric_for
from seqcl.metrics.knn import Neighbours, nearest, vote
from seqcl.metrics.similarity import Metric

__all__ = ["Knn"]


@dataclass(frozen=True, kw_only=True)
class Knn(Evaluator):
    """Give each test record the class of its nearest reference records.

    The score of a prediction is its share of the votes; with k = 1, the similarity of the
    neighbour (the cosine, or minus the Euclidean distance). Of classes with equal votes the one
    with the nearest member wins.
    """

    task: ClassVar[str] = "knn"
    needs: ClassVar[frozenset[str]] = frozenset({"reference", "labels"})
    learns: ClassVar[bool] = True

    k: Annotated[int, Ge(1)] = 1
    """Neighbours that vote; all labelled reference records where these are fewer."""
    metric: Literal["auto", "cosine", "euclidean"] = "auto"
    """auto = what the embeddings declare (``info["metric"]``), else the cosine."""
    weights: Literal["uniform", "distance"] = "uniform"
    """distance = a vote counts 1 / distance (for the cosine: 1 - similarity)."""

    def __call__(self, test: Embeddings, reference: Embeddings | None = None) -> Report:
        """Classify the labelled test records; higher metrics = better."""
        sets = label_sets(self.task, test, reference)
        metric = metric_for(self.metric, test)
        k = min(self.k, len(sets.reference.ids))
        found = nearest(sets.test.values, sets.reference.values, k, metric)
        codes, shares = vote(sets.reference_codes[found.index], self._weights(found, metric))
        scores = found.similarity[:, 0] if k == 1 else shares
        chosen = {"k": k, "metric": metric, "weights": self.weights}
        return decision_report(self.task, sets, codes, scores, chosen)

    def _weights(self, found: Neighbours, metric: Metric) -> npt.NDArray[np.float64]:
        """Return (N, k) votes; where a neighbour is at distance 0, only such neighbours vote."""
        if self.weights == "uniform":
            return np.ones_like(found.similarity)
        distance = np.maximum((1.0 if metric == "cosine" else 0.0) - found.similarity, 0.0)
        same = distance == 0
        inverse = 1 / np.where(same, 1.0, distance)
        return np.where(same.any(1, keepdims=True), same.astype(np.float64), inverse)
