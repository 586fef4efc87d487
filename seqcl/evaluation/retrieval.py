"""Retrieval with frozen embeddings: whether the nearest records share the query's class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from seqcl.batch import Embeddings, sorted_labels
from seqcl.errors import DataError
from seqcl.evaluation.base import Evaluator, Report
from seqcl.evaluation.inputs import Classed, classed, metric_for, require_reference
from seqcl.evaluation.outcomes import Means
from seqcl.metrics.retrieval import retrieval_scores
from seqcl.metrics.similarity import Metric

__all__ = ["Retrieval"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Retrieval(Evaluator):
    """Rank the gallery for each test record: precision at 1 and mean average precision.

    The gallery is the reference; without one, each test record searches all the others. Queries
    whose class the gallery does not hold are left out and counted.
    """

    task: ClassVar[str] = "retrieval"
    needs: ClassVar[frozenset[str]] = frozenset({"labels"})

    metric: Literal["auto", "cosine", "euclidean"] = "auto"
    """auto = what the embeddings declare (``info["metric"]``), else the cosine."""
    cutoff: Annotated[int, Ge(1)] = 10
    """Ranks that the short average precision looks at."""

    def __call__(self, test: Embeddings, reference: Embeddings | None = None) -> Report:
        """Search with every labelled test record; higher metrics = better."""
        queries = classed(self.task, "test", test)
        gallery = queries
        if reference is not None:
            require_reference(self.task, test, reference)
            gallery = classed(self.task, "reference", reference)
        metric = metric_for(self.metric, test)
        scores = self._scores(queries, gallery, metric)
        answered = np.flatnonzero(np.isfinite(scores["p_at_1"]))
        if not len(answered):
            raise DataError(
                f"{self.task}: no test record has another record of its class to find; give "
                "a gallery with the same classes by --train"
            )
        outcomes = Means(
            tuple(queries.ids[row] for row in answered),
            {name: values[answered] for name, values in scores.items()},
            units=queries.units[answered],
        )
        details = self._details(queries, gallery, len(answered), metric)
        return Report.of_outcomes(self.task, outcomes, details, ("p_at_1", "map"))

    def _scores(self, queries: Classed, gallery: Classed, metric: Metric) -> dict[str, Floats]:
        classes = sorted_labels((*queries.labels, *gallery.labels))
        code = {label: number for number, label in enumerate(classes)}
        return retrieval_scores(
            queries.values,
            np.array([code[label] for label in queries.labels]),
            gallery.values,
            np.array([code[label] for label in gallery.labels]),
            metric,
            leave_one_out=gallery is queries,
            cutoff=self.cutoff,
        )

    def _details(
        self, queries: Classed, gallery: Classed, answered: int, metric: Metric
    ) -> dict[str, object]:
        missing = len(queries.ids) - answered
        notes = []
        if queries.unlabelled:
            total = queries.unlabelled + len(queries.ids)
            notes.append(f"{queries.unlabelled} of {total} test records have no label")
        if missing:
            notes.append(f"{missing} of {len(queries.ids)} queries have no record of their class")
        counts = {
            "queries": answered,
            "queries_without_match": missing,
            "test_without_label": queries.unlabelled,
            "gallery": len(gallery.ids),
            "gallery_without_label": gallery.unlabelled,
        }
        chosen = {"metric": metric, "gallery": "test" if gallery is queries else "reference"}
        return {"chosen": chosen, "counts": counts, "notes": notes}
