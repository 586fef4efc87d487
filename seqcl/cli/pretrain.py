"""`seqcl pretrain`: learn an encoder from unlabelled data."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import console_sink, print_dry_run, print_result


@click.command("pretrain")
@click.argument("preset", metavar="PRESET|FILE")
@options.data("data", text="Training data: file, folder, glob or scheme:name; may be repeated.")
@options.data(
    "val",
    required=False,
    text="Validation data for the diagnostics, and for probes of their labels; never trained on.",
)
@click.option("--out", metavar="RUN", type=click.Path(path_type=Path), help="Run folder to write.")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change one option of the preset, e.g. --set method.loss.temperature=0.2.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed."
)
@click.option(
    "--init",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Start from this run's encoder; of a detector: learn from the rows that it finds usual.",
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option(
    "--dry-run", is_flag=True, help="Show preset, shapes, memory and one timed step; write nothing."
)
@click.option(
    "--max-minutes",
    type=options.FiniteRange(min=0, min_open=True),
    help="Stop after this many minutes.",
)
@click.option(
    "--workers", type=click.IntRange(min=0), help="Loader processes. [default: the preset's]"
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events too (extra: track).")
@options.world_size
@options.heavy
def command(
    preset: str, data_sources: tuple[str, ...], val_sources: tuple[str, ...], **given: Any
) -> int:
    """Pretrain an encoder on unlabelled data.

    PRESET is a preset's name (`seqcl list presets`) or a YAML file. The run folder holds the
    model, the resolved preset, metrics.jsonl and the checkpoints. On several processes:
    torchrun --nproc-per-node N -m seqcl pretrain …
    """
    from seqcl.run import Settings, dry_run, pretrain

    overrides = list(given.pop("overrides"))
    if given["batch_size"] is not None:
        overrides.append(f"training.batch_size={given['batch_size']}")
    if given["workers"] is not None:
        overrides.append(f"training.workers={given['workers']}")
    settings = Settings(
        sources=data_sources,
        validation=val_sources,
        overrides=tuple(overrides),
        seed=given["seed"],
        device=given["device"],
        threads=given["threads"],
        init=given["init"],
        tensorboard=given["tensorboard"],
        world_size=given["world_size"],
        command=shlex.join(["seqcl", *sys.argv[1:]]),
    )
    if given["dry_run"]:
        print_dry_run(dry_run(preset, settings))
        return 0
    if given["out"] is None:
        raise click.UsageError("--out RUN is needed: the folder to write (or --dry-run)")
    with console_sink() as sink:
        result = pretrain(
            preset, settings, given["out"],
            resume=given["resume"], max_minutes=given["max_minutes"], sinks=(sink,),
        )  # fmt: skip
    if result.rank:
        return 0
    print_result(result)
    return 3 if result.skipped else 0
