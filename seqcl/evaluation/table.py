"""Results as a table of text: systems by metrics, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from seqcl.evaluation.base import Report, Row

__all__ = ["ResultTable", "markdown", "metric_title", "table_of"]

ABSENT = "–"
_TITLES = {
    "ari": "ARI",
    "nmi": "NMI",
    "map": "mAP",
    "map_at_10": "mAP@10",
    "p_at_1": "P@1",
    "macro_f1": "macro F1",
}


@dataclass(frozen=True)
class ResultTable:
    """Plain text cells; the first column names the system."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    """Footnotes: why a cell is absent, and what the reader of the numbers must know."""


@dataclass(frozen=True)
class _Column:
    task: str
    metric: str
    first: bool
    """Whether it is the first of its task: the one that shows its interval."""


def table_of(rows: Sequence[Row], *, brief: bool = False) -> ResultTable:
    """Return one line a system: headline metrics of several tasks or if `brief`, else all.

    A cell is the value, with the 95 % interval in a task's first column; ``mean ± sd`` over
    seeds where a system has several rows in a task, and over draws of labels where there are
    some. "–" stands for what does not apply; a number after it leads to the reason.
    """
    columns = _columns(rows, brief)
    several = len({column.task for column in columns}) > 1
    header = ("system", *(_title(column, several) for column in columns))
    reasons: dict[str, int] = {}
    body = tuple(
        (
            system,
            *(_cell(_rows_of(rows, system, column.task), column, reasons) for column in columns),
        )
        for system in dict.fromkeys(row.system for row in rows)
    )
    footnotes = [f"({number}) {reason}" for reason, number in reasons.items()]
    return ResultTable(header, body, (*footnotes, *_notes(rows)))


def metric_title(metric: str) -> str:
    """Return the name of a metric as people write it: ``macro F1``, ``mAP``."""
    return _TITLES.get(metric, metric.replace("_", " "))


def markdown(table: ResultTable) -> str:
    """Return GitHub Markdown: the table, then its notes."""
    lines = [table.header, ("---", *("---:" for _ in table.header[1:])), *table.rows]
    text = "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)
    return "\n\n".join((text, *(_escaped(note) for note in table.notes))) + "\n"


def _columns(rows: Sequence[Row], brief: bool) -> list[_Column]:
    """Return the metrics to show, by task in the order of the rows."""
    tasks = dict.fromkeys(row.task for row in rows)
    shown = []
    for task in tasks:
        reports = [row.report for row in rows if row.task == task and row.report is not None]
        names = dict.fromkeys(
            name
            for report in reports
            for name in (_headline(report) if brief or len(tasks) > 1 else report.metrics)
        )
        metrics = tuple(names) or ("result",)
        shown += [_Column(task, name, name == metrics[0]) for name in metrics]
    return shown


def _headline(report: Report) -> tuple[str, ...]:
    return report.headline or tuple(report.metrics)[:1]


def _title(column: _Column, several: bool) -> str:
    name = metric_title(column.metric)
    return f"{column.task} {name}" if several else name


def _rows_of(rows: Sequence[Row], system: str, task: str) -> list[Row]:
    return [row for row in rows if row.system == system and row.task == task]


def _cell(rows: Sequence[Row], column: _Column, reasons: dict[str, int]) -> str:
    """Return one cell; a new reason for its absence is added to `reasons`."""
    reports = [row.report for row in rows if row.report is not None]
    values = [
        report.metrics[column.metric] for report in reports if column.metric in report.metrics
    ]
    if not values:
        why = next((row.reason for row in rows if row.reason), None)
        return ABSENT if why is None else f"{ABSENT} ({reasons.setdefault(why, len(reasons) + 1)})"
    if len(values) > 1:
        return f"{fmean(values):.3f} ± {stdev(values):.3f}"
    spread = reports[0].details.get("spread", {}).get(column.metric)
    if spread is not None:
        return f"{values[0]:.3f} ± {spread:.3f}"
    interval = reports[0].intervals.get(column.metric) if column.first else None
    return f"{values[0]:.3f}" + ("" if interval is None else " [{:.3f}, {:.3f}]".format(*interval))


def _notes(rows: Sequence[Row]) -> list[str]:
    """Return the notes of all reports, each once, and what the signs in the cells mean."""
    reports = [row.report for row in rows if row.report is not None]
    notes = dict.fromkeys(
        f"{report.task}: {note}" for report in reports for note in report.details.get("notes", ())
    )
    seeds = max((len(_rows_of(rows, row.system, row.task)) for row in rows), default=0)
    if seeds > 1:
        notes[f"±: standard deviation over {seeds} seeds"] = None
    elif any(report.details.get("spread") for report in reports):
        notes["±: standard deviation over draws of labels"] = None
    elif any(report.intervals for report in reports):
        notes["[ ]: 95 % bootstrap interval over the test records"] = None
    return list(notes)


def _escaped(text: str) -> str:
    """Keep a name from breaking the table: its bars, line ends and tags are text."""
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return plain.replace("<", "&lt;")
