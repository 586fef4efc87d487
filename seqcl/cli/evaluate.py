"""`seqcl evaluate`: what the embeddings are worth, beside controls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note, note_skipped, print_lines, print_table


@click.command("evaluate")
@options.run_folder
@options.data("train", required=False, text="Labelled records to learn from (the reference).")
@options.data("test", text="Labelled records to be judged on.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="TASK",
    help="linear, knn, clustering or retrieval; anomaly for a detector; may be repeated. "
    "[default: the preset's]",
)
@click.option(
    "--labels",
    metavar="N",
    default="all",
    show_default=True,
    help="How many training labels to use: 1%, 10%, 5-per-class or all (mean of 10 draws).",
)
@click.option(
    "--controls/--no-controls", default=True, help="Also the untrained encoder and plain baselines."
)
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write all numbers; - is stdout.",
)
@click.option(
    "--predictions",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write one CSV row a test record.",
)
@click.option(
    "--report", metavar="FILE.html", type=click.Path(path_type=Path), help="Write the HTML report."
)
@click.option(
    "--point-adjusted",
    is_flag=True,
    help="For a detector: also the point-adjusted F1, high for random scores too.",
)
@options.centre
@options.data_overrides
@options.heavy
def command(
    run: Path, train_sources: tuple[str, ...], test_sources: tuple[str, ...], **given: Any
) -> int:
    """Judge the encoder of RUN on labelled data, beside its untrained self and plain baselines."""
    from seqcl.evaluation.labels import parse_labels
    from seqcl.run import evaluate, load
    from seqcl.run.embedding import check_output
    from seqcl.run.results import (
        evaluation_tables,
        gain_sentence,
        to_json,
        write_json,
        write_predictions,
    )

    for option, suffixes in (("json_path", ()), ("predictions", ()), ("report", (".html",))):
        check_output(f"--{option.removesuffix('_path')}", given[option], suffixes)
    opened = load(run)
    if opened.preset.detector is not None:
        return _detector(opened, train_sources, test_sources, given)
    if given["point_adjusted"]:
        raise click.UsageError("--point-adjusted: is for a detector, and RUN is an encoder")
    result = evaluate(
        opened,
        train_sources,
        test_sources,
        tasks=given["tasks"],
        labels=parse_labels(given["labels"]),
        controls=given["controls"],
        centre=given["centre"],
        overrides=given["overrides"],
        device=given["device"],
        batch_size=given["batch_size"] or 256,
        cpu_threads=given["threads"],
        on_system=lambda name: note(f"evaluating {name}"),
    )
    if str(given["json_path"]) == "-":
        click.echo(json.dumps(to_json(result), indent=2))
    else:
        notes: dict[str, None] = {}
        for task, table in evaluation_tables(result).items():
            print_table(table.header, table.rows, title=task)
            notes |= dict.fromkeys(table.notes)
        print_lines(notes)
        for text in (*gain_sentence(result), *(f"note: {text}" for text in result.notes)):
            note(text)
        if given["json_path"] is not None:
            write_json(result, given["json_path"])
    if given["predictions"] is not None:
        write_predictions(result, given["predictions"])
    if given["report"] is not None:
        from seqcl.run.reporting import report_evaluation

        report_evaluation(opened, result, given["report"])
        note(f"report: {given['report']}")
    return note_skipped(result.skipped)


def _detector(
    run: Any, train: tuple[str, ...], test: tuple[str, ...], given: dict[str, Any]
) -> int:
    """Judge a detector on recordings with labelled rows."""
    from dataclasses import asdict

    from seqcl.files import atomic_write
    from seqcl.run.judging import judge

    if train or set(given["tasks"]) - {"anomaly"} or given["predictions"] or given["report"]:
        raise click.UsageError(
            "RUN is a detector: it takes --test with labelled rows, --task anomaly and --json; "
            "'seqcl detect' writes scores and a report"
        )
    if given["centre"]:
        raise click.UsageError("--centre: RUN is a detector, which embeds nothing; drop it")
    found, dataset = judge(
        run, test, point_adjusted=given["point_adjusted"], overrides=given["overrides"],
        cpu_threads=given["threads"],
    )  # fmt: skip
    text = json.dumps([asdict(one) for one in found], indent=2)
    if str(given["json_path"]) == "-":
        click.echo(text)
    else:
        columns = {name: [getattr(one, name) for one in found] for name in asdict(found[0])}
        known = {
            name: cells for name, cells in columns.items() if any(c is not None for c in cells)
        }
        names = [_SHORT.get(name, name.replace("_", " ").replace("vus", "VUS")) for name in known]
        rows = [[_shown(cell) for cell in row] for row in zip(*known.values(), strict=True)]
        print_table(names, rows, title="anomaly")
        if given["json_path"] is not None:
            atomic_write(given["json_path"], text + "\n")
    for line in dataset.notes:
        note(f"note: {line}")
    return note_skipped(dataset.skipped)


_SHORT = {
    "average_precision": "AP", "point_adjusted_f1": "adjusted F1",
    "affiliation_f1": "affiliation F1", "vus_pr_low": "VUS pr from", "vus_pr_high": "to",
}  # fmt: skip
"""Headings where the name would be too wide."""


def _shown(value: str | float | None) -> str:
    if isinstance(value, str):
        return value
    return "–" if value is None else f"{value:.3f}"
