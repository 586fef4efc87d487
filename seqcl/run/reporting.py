"""The HTML report of a run, and of its evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.data.dataset import Dataset
from seqcl.evaluation.base import Row as EvaluationRow
from seqcl.evaluation.table import metric_title
from seqcl.metrics.projection import embedding_map
from seqcl.report import (
    Cell,
    Comparison,
    Confusion,
    Estimate,
    ReportContent,
    Row,
    Scatter,
    Table,
    write_report,
)
from seqcl.run.evaluating import TRAINED, Evaluation
from seqcl.run.folder import Run
from seqcl.run.results import gain_sentence

__all__ = ["report_evaluation", "report_training"]

_INTERVALS = "Intervals are 95 % bootstrap intervals over the test records."


def report_training(run: Run, out: Path) -> None:
    """Write how a run trained: facts, curves, preset."""
    write_report(out, ReportContent(**_common(run)))


def report_evaluation(run: Run, result: Evaluation, out: Path) -> None:
    """Write the same page with results, comparison, map and confusion matrix."""
    embeddings = result.embeddings
    records = _Series(result.test)
    scatter = Scatter(
        points=embedding_map(embeddings.values),
        ids=embeddings.ids,
        labels=embeddings.labels,
        series=records,
        channels=tuple(result.test.channels),
    )
    content = ReportContent(
        **_common(run),
        comparisons=tuple(_comparisons(result)),
        tables=tuple(_tables(result)),
        scatter=scatter,
        confusion=_confusion(result),
    )
    write_report(out, content)


class _Series(Sequence[npt.NDArray[np.float32]]):
    """Values of the test records, read when a point is drawn."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, row: Any) -> Any:
        return self._dataset.record(int(row)).values


def _common(run: Run) -> dict[str, Any]:
    manifest = run.manifest
    facts: dict[str, Cell] = {
        "records": manifest["data"]["records"],
        "channels": len(manifest["channels"]),
        **_extent(manifest["data"]),
        "encoder parameters": sum(p.numel() for p in run.model.encoder.parameters()),
        "embedding size": run.model.embedding.out_dim,
        "seed": manifest["seed"],
    }
    train = manifest.get("train") or {}
    if train:
        facts["steps"] = train["steps"]
        facts["seconds"] = f"{train['seconds']:.1f}"
        facts["weights moved"] = f"{train['weights_moved']:.1%}"
    return {
        "title": f"seqcl run {run.path.name}",
        "created": manifest["created"],
        "command": manifest["command"],
        "preset": run.preset.yaml(),
        "facts": facts,
        "notes": tuple(manifest.get("notes", ())),
        "curves": _curves(run.path / "metrics.jsonl"),
    }


def _extent(data: Mapping[str, Any]) -> dict[str, Cell]:
    size = data.get("size")
    if size:
        return {"size (height x width)": " x ".join(map(str, size))}
    return {"longest record (steps)": data["max_length"]}


def _curves(path: Path) -> list[Mapping[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def _comparisons(result: Evaluation) -> list[Comparison]:
    sentences = gain_sentence(result)
    return [
        Comparison(sentence=text, difference=Estimate(gain.value, gain.low, gain.high))
        for text, gain in zip(sentences, result.gain.values(), strict=True)
    ]


def _tables(result: Evaluation) -> list[Table]:
    tasks = dict.fromkeys(row.task for row in result.rows)
    return [_table(task, [row for row in result.rows if row.task == task]) for task in tasks]


def _table(task: str, rows: Sequence[EvaluationRow]) -> Table:
    names = list(
        dict.fromkeys(name for row in rows if row.report is not None for name in row.report.metrics)
    )
    return Table(
        title=task,
        header=("system", *(metric_title(name) for name in names)),
        rows=tuple(_row(row, names) for row in rows),
        note=_INTERVALS if any(row.report and row.report.intervals for row in rows) else "",
    )


def _row(row: EvaluationRow, names: Sequence[str]) -> Row:
    cells: list[Cell] = []
    for name in names:
        value = None if row.report is None else row.report.metrics.get(name)
        interval = None if row.report is None else row.report.intervals.get(name)
        if value is None or interval is None:
            cells.append(value)
        else:
            cells.append(Estimate(value, *interval))
    return Row(
        name=row.system, cells=tuple(cells), control=row.system != TRAINED, note=row.reason or ""
    )


def _confusion(result: Evaluation) -> Confusion | None:
    for row in result.rows:
        report = row.report
        if row.system == TRAINED and report is not None and "confusion" in report.details:
            classes = tuple(str(name) for name in report.details["classes"])
            return Confusion(classes=classes, counts=np.asarray(report.details["confusion"]))
    return None
