"""The linear probe: how much of the classes a hyperplane finds in frozen embeddings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from seqcl.batch import Embeddings
from seqcl.errors import DataError
from seqcl.evaluation.base import Evaluator, Report
from seqcl.evaluation.choice import Candidate, ProbeName, ScalingName, choose
from seqcl.evaluation.decisions import decision_report
from seqcl.evaluation.inputs import LabelSets, label_sets, require_reference
from seqcl.evaluation.probes import LinearMap, Scaling, fit_logistic, fit_ridge_map

__all__ = ["Linear"]

_MOST_FEATURES = 2000
"""Dimensions up to which the logistic regression is tried."""


@dataclass(frozen=True, kw_only=True)
class Linear(Evaluator):
    """Train a linear classifier on the reference embeddings and judge it on the test ones.

    ``probe: auto`` tries ridge regression (its penalty by leave-one-out, as MiniRocket is used)
    and logistic regression (C from 0.001 to 1,000), each on embeddings with one common factor and
    on standardised ones, and keeps what is right most often in 5 stratified folds of the training
    records. Above 2,000 dimensions only the ridge is tried. Nothing is learnt from test records.

    Groups, and the recordings that windows are cut from, are held out whole. Where no class has
    labelled records of two of them nothing can be held out: then it is the first probe,
    scaled as the embeddings declare (``info["scaling"]``: "common", the default, or "each").

    The score of a prediction is its probability (logistic) or decision value (ridge).
    """

    task: ClassVar[str] = "linear"
    needs: ClassVar[frozenset[str]] = frozenset({"reference", "labels"})
    learns: ClassVar[bool] = True

    probe: Literal["auto", "ridge", "logistic"] = "auto"
    """ridge or logistic = that one alone."""

    def __call__(self, test: Embeddings, reference: Embeddings | None = None) -> Report:
        """Fit, then classify the labelled test records; higher metrics = better."""
        reference = require_reference(self.task, test, reference)
        sets = label_sets(self.task, test, reference)
        if sets.seen < 2:
            raise DataError(
                f"{self.task}: all {len(sets.reference.ids)} labelled training records are of "
                f"class {sets.classes[0]!r}; at least two classes are needed"
            )
        scalings = {name: Scaling.fit(reference.values, name) for name in self._scalings(test)}
        candidates = choose(
            sets.reference.values,
            sets.reference.ids,
            sets.reference.units,
            sets.reference_codes,
            scalings,
            self._probes(test),
            seed=0,
        )
        best = candidates[0]
        fitted, chosen, notes = _fit(best, sets, scalings[best.scaling])
        scores = fitted.scores(sets.test.values, scalings[best.scaling])
        chosen["candidates"] = [asdict(candidate) for candidate in candidates]
        return decision_report(
            self.task,
            sets,
            scores.argmax(1),
            scores.max(1),
            chosen,
            notes=notes,
            headline=("accuracy", "macro_f1"),
        )

    def _probes(self, test: Embeddings) -> tuple[ProbeName, ...]:
        if self.probe != "auto":
            return (self.probe,)
        wide = test.values.shape[1] > _MOST_FEATURES
        return ("ridge",) if wide else ("ridge", "logistic")

    def _scalings(self, test: Embeddings) -> tuple[ScalingName, ...]:
        declared = test.info.get("scaling") == "each"
        return ("each", "common") if declared else ("common", "each")


def _fit(
    best: Candidate, sets: LabelSets, scaling: Scaling
) -> tuple[LinearMap, dict[str, Any], tuple[str, ...]]:
    """Fit the chosen probe to all labelled training records."""
    scaled = scaling(sets.reference.values)
    if best.c is None:
        fitted, penalty = fit_ridge_map(scaled, sets.reference_codes, sets.seen)
        return fitted, {**asdict(best), "penalty": penalty}, ()
    fitted, converged = fit_logistic(scaled, sets.reference_codes, best.c)
    told = () if converged else ("the logistic regression stopped before it converged",)
    return fitted, asdict(best), told
