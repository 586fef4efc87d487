"""`seqcl predict`: the label of each record, by a fine-tuned run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note, note_skipped


@click.command("predict")
@options.run_folder
@options.data("data", text="Data to predict: file, folder, glob or scheme:name.")
@click.option(
    "--out",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write: .csv, .npz or .parquet.",
)
@options.data_overrides
@options.heavy
def command(run: Path, data_sources: tuple[str, ...], out: Path, **given: Any) -> int:
    """Predict labels with RUN, a run of `seqcl finetune`.

    Writes id, prediction and, for classes and tags, the probability of each.
    """
    from seqcl.run import load
    from seqcl.run.embedding import check_output
    from seqcl.run.predicting import PREDICTION_SUFFIXES, predict_sources, write_predictions

    check_output("--out", out, PREDICTION_SUFFIXES)
    opened = load(run)
    found, dataset = predict_sources(
        opened,
        data_sources,
        overrides=given["overrides"],
        device=given["device"],
        batch_size=given["batch_size"] or 256,
        cpu_threads=given["threads"],
    )
    write_predictions(found, out, opened.targets.separator or "|")
    for text in dataset.notes:
        note(f"note: {text}")
    note(f"{out}: {len(found):,} predictions")
    return note_skipped(dataset.skipped)
