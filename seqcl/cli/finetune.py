"""`seqcl finetune`: train a head, and the encoder with it, on labels."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import console_sink, print_finetuned


@click.command("finetune")
@options.run_folder
@options.data("data", text="Labelled training data: file, folder, glob or scheme:name.")
@options.data(
    "val", required=False, text="Labelled data for early stopping. [default: a part of --data]"
)
@click.option(
    "--out",
    metavar="RUN2",
    required=True,
    type=click.Path(path_type=Path),
    help="Run folder to write.",
)
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change an option of finetune, training, data or views, e.g. --set finetune.freeze=true.",
)
@click.option(
    "--labels",
    metavar="N",
    default="all",
    show_default=True,
    help="How many labels to use: 1%, 10%, 5-per-class or all; held-out ones count.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed."
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option(
    "--max-minutes",
    type=options.FiniteRange(min=0, min_open=True),
    help="Stop after this many minutes.",
)
@options.heavy
def command(
    run: Path, data_sources: tuple[str, ...], val_sources: tuple[str, ...], **given: Any
) -> int:
    """Fine-tune the encoder of RUN on labels: classes, several tags a record, or values.

    First a head learns on the frozen encoder, then all weights learn, layers near the input more
    slowly; the weights that do best on held-out records are kept. `seqcl describe finetune` lists
    the options. `seqcl predict RUN2` applies the result.
    """
    from seqcl.evaluation.labels import parse_labels
    from seqcl.run import FinetuneSettings, finetune, load

    overrides = list(given["overrides"])
    if given["batch_size"] is not None:
        overrides.append(f"training.batch_size={given['batch_size']}")
    settings = FinetuneSettings(
        sources=data_sources,
        validation=val_sources,
        overrides=tuple(overrides),
        labels=parse_labels(given["labels"]),
        seed=given["seed"],
        device=given["device"],
        threads=given["threads"],
        command=shlex.join(["seqcl", *sys.argv[1:]]),
    )
    with console_sink() as sink:
        result = finetune(
            load(run), settings, given["out"],
            resume=given["resume"], max_minutes=given["max_minutes"], sinks=(sink,),
        )  # fmt: skip
    print_finetuned(result)
    return 3 if result.skipped else 0
