"""Clustering of frozen embeddings: whether the groups that they form match the classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.exceptions import ConvergenceWarning

from seqcl.batch import Embeddings, Label
from seqcl.errors import DataError
from seqcl.evaluation.base import Evaluator, Report
from seqcl.evaluation.inputs import clean_label, metric_for, usable
from seqcl.evaluation.shuffle import shuffled_by_class
from seqcl.metrics.clustering import adjusted_rand, normalized_mutual_information, silhouette
from seqcl.metrics.similarity import Metric, distances

__all__ = ["Clustering"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MOST_RECORDS = 4000
_RESTARTS = 10
_TRIED = range(2, 11)


@dataclass(frozen=True, kw_only=True)
class Clustering(Evaluator):
    """Cluster the test records by k-means and by HDBSCAN, without their labels.

    Labels are used afterwards, for the adjusted Rand index and normalised mutual information
    (``ari``, ``nmi``, ``hdbscan_ari``, ``hdbscan_nmi``); records that HDBSCAN calls noise count
    as one more group there. The silhouette needs no labels. Embeddings that are compared by the
    cosine are brought to unit length. HDBSCAN and silhouettes, whose cost is quadratic, look at
    4,000 records at most.

    There are no intervals: a record drawn twice would share its cluster with itself, which
    raises every agreement.
    """

    task: ClassVar[str] = "clustering"

    clusters: Annotated[int, Ge(2)] | None = None
    """k of k-means; None = the number of classes, and without labels the k from 2 to 10 with
    the best silhouette."""
    min_cluster_size: Annotated[int, Ge(2)] = 5
    """Smallest group of records that HDBSCAN calls a cluster."""
    metric: Literal["auto", "cosine", "euclidean"] = "auto"
    """auto = what the embeddings declare (``info["metric"]``), else the cosine."""

    def __call__(self, test: Embeddings, reference: Embeddings | None = None) -> Report:
        """Cluster all of `test`; `reference` is not looked at. Higher metrics = better."""
        usable(self.task, "test", test)
        least = max(3, self.clusters or 0)
        if len(test) < least:
            raise DataError(
                f"{self.task}: {len(test)} test records cannot be clustered; "
                f"at least {least} are needed"
            )
        metric = metric_for(self.metric, test)
        points = _points(test, metric)
        k, found = self._k_means(points)
        metrics = points.scores(found)
        metrics |= {f"hdbscan_{name}": value for name, value in self._hdbscan(points).items()}
        details = {
            "chosen": {"clusters": k, "metric": metric},
            "counts": {"test": len(test), "test_without_label": int((points.codes < 0).sum())},
            "notes": _notes(points, k, len(np.unique(found)), self.clusters is None),
        }
        headline = ("ari", "nmi") if points.classes >= 2 else ("silhouette",)
        return Report(self.task, metrics, details=details, headline=headline)

    def _k_means(self, points: _Points) -> tuple[int, Codes]:
        """Return k and the cluster of each record."""
        if self.clusters is not None or points.classes >= 2:
            k = self.clusters or points.classes
            return k, _k_means(points.values, k)
        tried = {k: _k_means(points.values, k) for k in _TRIED if k < len(points.values)}
        widths = {k: points.silhouette(found) for k, found in tried.items()}
        k = max(widths, key=lambda k: -2.0 if (width := widths[k]) is None else width)
        return k, tried[k]

    def _hdbscan(self, points: _Points) -> dict[str, float]:
        """Return the metrics of density clusters, their number and the share of noise."""
        size = min(self.min_cluster_size, len(points.distances))
        method = HDBSCAN(min_cluster_size=size, metric="precomputed", copy=True)
        found = np.asarray(method.fit_predict(points.distances), np.int64)
        return {
            **points.scores(found),
            "clusters": float(len(np.unique(found[found >= 0]))),
            "noise": float(np.mean(found < 0)),
        }


@dataclass(frozen=True)
class _Points:
    """Records in an order of their own."""

    values: npt.NDArray[np.float32]
    codes: Codes
    """(N,) classes; -1 = no label."""
    distances: Floats
    """(M, M) between the first M <= _MOST_RECORDS records."""

    @property
    def classes(self) -> int:
        """How many classes have a labelled record."""
        return len(np.unique(self.codes[self.codes >= 0]))

    def silhouette(self, found: Codes) -> float | None:
        """Return that of the first M records, without noise (-1)."""
        first = found[: len(self.distances)]
        kept = first >= 0
        return silhouette(self.distances[np.ix_(kept, kept)], first[kept])

    def scores(self, found: Codes) -> dict[str, float]:
        """Return ari and nmi where there are two classes, and the silhouette where defined."""
        metrics = {}
        if self.classes >= 2:
            codes = self.codes[: len(found)]
            known = codes >= 0
            metrics["ari"] = adjusted_rand(codes[known], found[known])
            metrics["nmi"] = normalized_mutual_information(codes[known], found[known])
        width = self.silhouette(found)
        return metrics if width is None else {**metrics, "silhouette": width}


def _points(test: Embeddings, metric: Metric) -> _Points:
    """Return the records in a random order that depends on their ids alone, not on the file's."""
    order = shuffled_by_class(test.ids, np.zeros(len(test), np.int64), seed=0)[0]
    values = test.values[order].astype(np.float64)
    if metric == "cosine":
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        values /= np.where(norms > 0, norms, 1.0)
    return _Points(
        values.astype(np.float32),
        _class_codes(test.labels or [None] * len(test))[order],
        distances(values[:_MOST_RECORDS]),
    )


def _class_codes(labels: Sequence[Label | None]) -> Codes:
    """Return (N,) numbers of the labels, -1 = none."""
    numbers: dict[Label | None, int] = {None: -1}
    codes = [numbers.setdefault(clean_label(label), len(numbers) - 1) for label in labels]
    return np.array(codes, np.int64)


def _k_means(values: npt.NDArray[np.float32], k: int) -> Codes:
    with warnings.catch_warnings():
        # fewer distinct records than clusters: the report says so in a note
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        fitted = KMeans(k, n_init=_RESTARTS, random_state=0).fit(values)
    return np.asarray(fitted.labels_, np.int64)


def _notes(points: _Points, k: int, found: int, by_labels: bool) -> list[str]:
    """Return what the reader of the numbers must know."""
    notes = []
    unlabelled = int((points.codes < 0).sum())
    if points.classes < 2:
        why = "no labels" if points.classes == 0 else "only one class"
        chosen = f"; k = {k} by the best silhouette" if by_labels else ""
        notes.append(f"{why}: no ARI or NMI, the silhouette alone{chosen}")
    elif unlabelled:
        notes.append(f"{unlabelled} of {len(points.codes)} records have no label: not in ARI, NMI")
    if found < k:
        notes.append(f"k-means found {found} of {k} clusters: too few records differ")
    if len(points.codes) > _MOST_RECORDS:
        notes.append(f"HDBSCAN and silhouettes are of {_MOST_RECORDS} of the records")
    return notes
