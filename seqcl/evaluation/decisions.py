"""The report of an evaluator that predicts a class for each test record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.evaluation.base import Report
from seqcl.evaluation.inputs import LabelSets
from seqcl.evaluation.outcomes import Decisions
from seqcl.metrics.classification import confusion_matrix

__all__ = ["decision_report"]


def decision_report(
    task: str,
    sets: LabelSets,
    predicted: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
    chosen: Mapping[str, Any],
    *,
    notes: tuple[str, ...] = (),
    headline: tuple[str, ...] = (),
) -> Report:
    """Return accuracy and its kin with intervals, the confusion matrix and all predictions.

    Args:
        task: name of the evaluator.
        sets: what was learnt from and judged.
        predicted: (N,) class codes for the test records.
        scores: (N,) what speaks for each prediction; higher = surer.
        chosen: hyper-parameters, as plain values.
        notes: sentences to add to those of the sets.
        headline: metrics for a table of several tasks.
    """
    test = sets.test
    outcomes = Decisions(test.ids, sets.test_codes, predicted, len(sets.classes), units=test.units)
    details = {
        "classes": list(sets.classes),
        "confusion": confusion_matrix(sets.test_codes, predicted, len(sets.classes)).tolist(),
        "predictions": [
            {"id": name, "label": label, "prediction": sets.classes[code], "score": float(score)}
            for name, label, code, score in zip(
                sets.test.ids, sets.test.labels, predicted, scores, strict=True
            )
        ],
        "chosen": dict(chosen),
        "counts": sets.counts(),
        "notes": [*sets.notes(), *notes],
    }
    return Report.of_outcomes(task, outcomes, details, headline)
