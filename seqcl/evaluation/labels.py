"""Few labels: what a probe reaches that sees 1 %, or 5 a class, of the training labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.batch import Embeddings, Label, sorted_labels
from seqcl.errors import DataError, UsageError
from seqcl.evaluation.base import Evaluator, Report
from seqcl.evaluation.inputs import clean_label
from seqcl.evaluation.outcomes import Averaged
from seqcl.evaluation.shuffle import shuffled_by_class

__all__ = ["LabelBudget", "draw_labels", "evaluate_budget", "parse_labels"]

DRAWS = 10


@dataclass(frozen=True)
class LabelBudget:
    """How many of the reference's labels a probe may see; both None = all of them."""

    fraction: float | None = None
    """Share of each class, 0 to 1."""
    per_class: int | None = None

    def __post_init__(self) -> None:
        if self.fraction is not None and self.per_class is not None:
            raise ValueError("LabelBudget: give fraction or per_class, not both")

    def __str__(self) -> str:
        if self.per_class is not None:
            return f"{self.per_class}-per-class"
        return "all" if self.fraction is None else f"{100 * self.fraction:g}%"

    @property
    def everything(self) -> bool:
        """Whether no label is withheld."""
        return self.per_class is None and self.fraction in (None, 1.0)

    def of_class(self, records: int) -> int:
        """Return how many labels of a class with `records` are seen: at least one."""
        if self.per_class is not None:
            return min(self.per_class, records)
        share = 1.0 if self.fraction is None else self.fraction
        return min(records, max(1, int(share * records + 0.5)))


def parse_labels(text: str) -> LabelBudget:
    """Read ``all``, ``10%`` or ``5-per-class``; raises UsageError with the nearest meaning."""
    plain = text.strip().lower()
    if plain == "all":
        return LabelBudget()
    if found := re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)%", plain):
        percent = float(found[1])
        if not 0 < percent <= 100:
            raise UsageError(f"--labels {text}: {percent:g}% is outside 0% to 100%")
        return LabelBudget(fraction=percent / 100)
    if found := re.fullmatch(r"(\d+)-per-class", plain):
        if int(found[1]) < 1:
            raise UsageError(f"--labels {text}: at least one label per class is needed")
        return LabelBudget(per_class=int(found[1]))
    raise UsageError(f"--labels {text}: needed is N%, N-per-class or all.{_guess(plain)}")


def draw_labels(
    ids: Sequence[str], labels: Sequence[Label | None], budget: LabelBudget, draw: int
) -> npt.NDArray[np.int64]:
    """Return the rows whose labels draw number `draw` sees, in order.

    Stratified by class, at least one of each. The draw depends on its number and the record ids
    alone: every system gets the same records, and a smaller budget's are among a larger one's.
    """
    cleaned = [clean_label(label) for label in labels]
    known = [label for label in cleaned if label is not None]
    if not known:
        return np.empty(0, np.int64)
    code: dict[Label | None, int] = {
        label: number for number, label in enumerate(sorted_labels(known))
    }
    codes = np.array([code.get(label, -1) for label in cleaned])
    by_class = shuffled_by_class(ids, codes, draw)
    return np.sort(np.concatenate([rows[: budget.of_class(len(rows))] for rows in by_class]))


def evaluate_budget(
    evaluator: Evaluator,
    test: Embeddings,
    reference: Embeddings | None,
    budget: LabelBudget,
    *,
    draws: int = DRAWS,
) -> Report:
    """Evaluate with few labels: each metric's mean over `draws`, its spread in the details.

    The other reference records stay, without labels. An evaluator that learns from no label is
    run once, as is any with all labels. Intervals are over test records, of the mean over draws;
    ``details["spread"]`` is the standard deviation over draws. Confusion matrix and predictions
    are those of the first draw.
    """
    if reference is None or reference.labels is None or budget.everything or not evaluator.learns:
        return evaluator(test, reference)
    rare = min(
        Counter(label for label in reference.labels if label is not None).values(), default=0
    )
    if budget.per_class is not None and budget.per_class > rare:
        raise DataError(
            f"--labels {budget}: the rarest class has {rare} labelled training records; "
            f"ask for at most {rare} a class, or all"
        )
    seen = [draw_labels(reference.ids, reference.labels, budget, draw) for draw in range(draws)]
    reports = [evaluator(test, _with_labels(reference, rows)) for rows in seen]
    first = reports[0]
    details = _details(reports, budget, len(seen[0]))
    outcomes = tuple(report.outcomes for report in reports if report.outcomes is not None)
    if len(outcomes) < draws:
        metrics = {name: float(np.mean(each)) for name, each in _by_metric(reports).items()}
        return Report(first.task, metrics, {}, details, first.headline)
    averaged = Averaged(outcomes[0].ids, outcomes, units=outcomes[0].units)
    return Report.of_outcomes(first.task, averaged, details, first.headline)


def _with_labels(reference: Embeddings, rows: npt.NDArray[np.int64]) -> Embeddings:
    """Return the reference with the labels of `rows` alone."""
    seen = set(rows.tolist())
    labels = enumerate(reference.labels or ())
    return replace(reference, labels=tuple(label if row in seen else None for row, label in labels))


def _details(reports: Sequence[Report], budget: LabelBudget, seen: int) -> dict[str, Any]:
    """Return the first draw's details with the budget, all draws and their spread."""
    told = f"mean of {len(reports)} draws of {budget} of the training labels ({seen} records each)"
    spread = {
        name: float(np.std(each, ddof=1))
        for name, each in _by_metric(reports).items()
        if len(each) > 1
    }
    return {
        **reports[0].details,
        "labels": str(budget),
        "draws": [dict(report.metrics) for report in reports],
        "spread": spread,
        "notes": [*reports[0].details.get("notes", ()), told],
    }


def _by_metric(reports: Sequence[Report]) -> dict[str, list[float]]:
    return {name: [report.metrics[name] for report in reports] for name in reports[0].metrics}


def _guess(text: str) -> str:
    """Return what an unreadable budget most likely meant, as a sentence."""
    found = re.search(r"\d+(?:\.\d+)?|\.\d+", text)
    if found is None:
        close = get_close_matches(text, ["all"], n=1)
        return " Did you mean 'all'?" if close else ""
    number = float(found[0])
    if "class" in text or "per" in text.replace("percent", ""):
        return f" Did you mean '{max(1, round(number))}-per-class'?"
    if "percent" in text or not number.is_integer():
        return f" Did you mean '{number * (1 if 'percent' in text else 100):g}%'?"
    return f" Did you mean '{number:g}%' or '{number:g}-per-class'?"
