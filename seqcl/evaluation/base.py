"""Evaluator and its Report, a Row of a results table, and the paired difference of two reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from seqcl.batch import Embeddings
from seqcl.evaluation.bootstrap import bootstrap_interval, resampled
from seqcl.evaluation.outcomes import Outcomes

__all__ = ["Difference", "Evaluator", "Report", "Row", "paired_difference", "records"]

RESAMPLES = 1000
"""Bootstrap draws of every interval."""
_SEED = 0


@dataclass(frozen=True)
class Report:
    """What one evaluator found on one set of embeddings."""

    task: str
    metrics: Mapping[str, float]
    """The headline first; higher = better unless its name says otherwise."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % bootstrap intervals over the test records (groups and recordings are drawn whole,
    where there are several), where a metric has one. A test set
    without a single error has an interval of no width: the bootstrap cannot see what it lacks."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain values for files and reports, each where it applies: `classes`, `confusion` (rows =
    true class), `predictions` (id, label, prediction, score), `chosen` (what the training part
    chose), `counts`, `spread` (sd over draws of labels), `draws`, `notes` (sentences to show)."""
    headline: tuple[str, ...] = ()
    """Metrics for a table of several tasks; empty = the first one."""
    outcomes: Outcomes | None = field(default=None, repr=False, compare=False)
    """By test record, for paired differences; None where the metrics are not sums over records."""

    @classmethod
    def of_outcomes(
        cls,
        task: str,
        outcomes: Outcomes,
        details: Mapping[str, Any],
        headline: tuple[str, ...] = (),
    ) -> Report:
        """Return the report of `outcomes` with the interval of each of its metrics."""
        draws = resampled(outcomes, RESAMPLES, _SEED)
        intervals = {name: bootstrap_interval(values) for name, values in draws.items()}
        return cls(task, outcomes.values(), intervals, details, headline, outcomes)


class Evaluator(ABC):
    """Judges embeddings of test records, most often against labelled reference records.

    A subclass is a frozen dataclass; its fields are the options a preset may set. Whatever it
    chooses (a penalty, a probe), it chooses on the reference alone. Faults of the data raise
    DataError: a missing label, NaN in the embeddings, sets that do not fit together.
    """

    kind: ClassVar[str] = "evaluators"
    task: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    """Of reference, labels."""
    learns: ClassVar[bool] = False
    """Whether it learns from the reference's labels, so that fewer of them are harder."""

    @abstractmethod
    def __call__(self, test: Embeddings, reference: Embeddings | None = None) -> Report:
        """Judge `test`; `reference` is what may be learnt from, or searched."""


@dataclass(frozen=True)
class Row:
    """A system's result in one task, or the reason why it has none."""

    system: str
    report: Report | None
    reason: str | None = None
    task: str = ""
    """Taken from the report where empty."""
    seed: int | None = None

    def __post_init__(self) -> None:
        if (self.report is None) == (self.reason is None):
            raise ValueError(f"row {self.system!r}: give a report or a reason, one of the two")
        if self.report is not None and not self.task:
            object.__setattr__(self, "task", self.report.task)

    def record(self) -> dict[str, Any]:
        """Return one flat record: system, task, seed, then one number per metric and bound."""
        record: dict[str, Any] = {"system": self.system, "task": self.task, "seed": self.seed}
        if self.report is None:
            return {**record, "reason": self.reason}
        record |= self.report.metrics
        for name, (low, high) in self.report.intervals.items():
            record |= {f"{name}_low": low, f"{name}_high": high}
        spread = self.report.details.get("spread", {})
        return record | {f"{name}_sd": value for name, value in spread.items()}


def records(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the flat records of `rows`, for a JSON or Parquet file."""
    return [row.record() for row in rows]


@dataclass(frozen=True)
class Difference:
    """A metric of one report minus that of another, with its paired 95 % interval."""

    metric: str
    value: float
    low: float
    high: float


def paired_difference(
    trained: Report, control: Report, metric: str | None = None
) -> Difference | None:
    """Return `trained` minus `control`, both resampled over the same test records.

    `metric` is the task's first one where None. None where the task has no outcomes by record
    (clustering). Raises ValueError if the reports are of different tasks or records.
    """
    first, second = trained.outcomes, control.outcomes
    if trained.task != control.task:
        raise ValueError(f"paired_difference: {trained.task} and {control.task} do not compare")
    if first is None or second is None:
        return None
    if first.ids != second.ids:
        raise ValueError(
            f"paired_difference: {len(first.ids)} and {len(second.ids)} test records are not "
            "the same in the same order"
        )
    name = metric or next(iter(trained.metrics))
    second = replace(second, units=first.units)  # or the draws would not be the same
    gap = resampled(first, RESAMPLES, _SEED)[name] - resampled(second, RESAMPLES, _SEED)[name]
    low, high = bootstrap_interval(gap)
    return Difference(name, trained.metrics[name] - control.metrics[name], low, high)
