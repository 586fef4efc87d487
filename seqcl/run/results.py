"""An evaluation as a table, as JSON and as a predictions file."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from seqcl.evaluation.table import ResultTable, metric_title, table_of
from seqcl.files import atomic_write
from seqcl.run.evaluating import TRAINED, Evaluation

__all__ = [
    "escaped",
    "evaluation_tables",
    "gain_sentence",
    "to_json",
    "write_json",
    "write_predictions",
]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def evaluation_tables(result: Evaluation) -> dict[str, ResultTable]:
    """Return a table a task: a row a system, its headline metrics, "–" where there is none."""
    tasks = dict.fromkeys(row.task for row in result.rows)
    return {
        task: table_of([row for row in result.rows if row.task == task], brief=True)
        for task in tasks
    }


def gain_sentence(result: Evaluation) -> tuple[str, ...]:
    """Say in words what training was worth, a line a task."""
    return tuple(
        f"{task}: trained minus untrained {metric_title(gain.metric)} {gain.value:+.3f} "
        f"(95 % interval {gain.low:+.3f} to {gain.high:+.3f})"
        for task, gain in result.gain.items()
    )


def to_json(result: Evaluation) -> dict[str, Any]:
    """Return everything measured, as plain values."""
    return {
        "rows": [
            {
                "system": row.system,
                "task": row.task,
                "reason": row.reason,
                "metrics": {} if row.report is None else dict(row.report.metrics),
                "intervals": (
                    {} if row.report is None
                    else {name: list(pair) for name, pair in row.report.intervals.items()}
                ),
            }
            for row in result.rows
        ],
        "gain": {
            task: {"metric": gain.metric, "value": gain.value, "low": gain.low, "high": gain.high}
            for task, gain in result.gain.items()
        },
        "notes": list(result.notes),
    }  # fmt: skip


def write_json(result: Evaluation, path: Path) -> None:
    """Write `to_json` to a file."""
    atomic_write(path, json.dumps(to_json(result), indent=2) + "\n")


def write_predictions(result: Evaluation, path: Path) -> None:
    """Write id, label, prediction and score of each test record, of the first task with any."""
    predictions: list[dict[str, Any]] = next(
        (
            row.report.details["predictions"]
            for row in result.rows
            if row.system == TRAINED and row.report is not None
            and row.report.details.get("predictions")
        ),
        [],
    )  # fmt: skip
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["id", "label", "prediction", "score"])
    for item in predictions:
        texts = (escaped(item[name]) for name in ("id", "label", "prediction"))
        writer.writerow([*texts, f"{item['score']:.6g}"])
    atomic_write(path, stream.getvalue())


def escaped(cell: object) -> str:
    """Keep a spreadsheet from running a text as a formula; a number stays one."""
    text = str(cell)
    return f"'{text}" if isinstance(cell, str) and text.startswith(_FORMULA) else text
