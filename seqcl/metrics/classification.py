"""Accuracy, F1, precision and recall from class codes, for one set or many resamples at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ClassCounts", "class_counts", "classification_scores", "confusion_matrix"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassCounts:
    """Weighted records by class, (K,) or (R, K) for R resamples."""

    hits: Floats
    """Records of the class that were predicted as it."""
    actual: Floats
    """Records of the class."""
    predicted: Floats
    """Records that were predicted as the class."""


def confusion_matrix(true: Codes, predicted: Codes, n_classes: int) -> npt.NDArray[np.int64]:
    """Count records by true class (rows) and predicted class (columns): (K, K)."""
    cells = np.bincount(true * n_classes + predicted, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def class_counts(
    true: Codes, predicted: Codes, n_classes: int, weights: npt.NDArray[np.int64] | None = None
) -> ClassCounts:
    """Count hits, actual and predicted records of each class.

    Args:
        true: (N,) class codes in 0..K-1.
        predicted: (N,) likewise.
        n_classes: K.
        weights: (R, N) how often each resample holds each record; None = once, giving (K,).
    """
    rows = np.ones((1, len(true)), np.int64) if weights is None else weights
    counts = ClassCounts(
        hits=_by_class(rows * (true == predicted), true, n_classes),
        actual=_by_class(rows, true, n_classes),
        predicted=_by_class(rows, predicted, n_classes),
    )
    if weights is not None:
        return counts
    return ClassCounts(counts.hits[0], counts.actual[0], counts.predicted[0])


def classification_scores(counts: ClassCounts) -> dict[str, Floats]:
    """Return each metric as a scalar array, or (R,) for R resamples.

    The macro averages run over the classes that occur as a label or as a prediction, and an
    undefined ratio counts as 0 (scikit-learn's convention with ``zero_division=0``); balanced
    accuracy is the mean recall of the classes that occur as a label.
    """
    hits, actual, predicted = counts.hits, counts.actual, counts.predicted
    occurs = (actual > 0) | (predicted > 0)
    recall = _ratio(hits, actual)
    return {
        "accuracy": _ratio(hits.sum(-1), actual.sum(-1)),
        "macro_f1": _mean(_ratio(2 * hits, actual + predicted), occurs),
        "macro_precision": _mean(_ratio(hits, predicted), occurs),
        "macro_recall": _mean(recall, occurs),
        "balanced_accuracy": _mean(recall, actual > 0),
    }


def _by_class(rows: npt.NDArray[np.int64], codes: Codes, n_classes: int) -> Floats:
    """Sum (R, N) over the records of each class: (R, K)."""
    offsets = np.arange(len(rows))[:, None] * n_classes
    sums = np.bincount(
        (offsets + codes).ravel(), weights=rows.ravel(), minlength=len(rows) * n_classes
    )
    return np.asarray(sums, np.float64).reshape(len(rows), n_classes)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _mean(values: Floats, where: npt.NDArray[np.bool_]) -> Floats:
    return _ratio(np.where(where, values, 0.0).sum(-1), where.sum(-1).astype(np.float64))
