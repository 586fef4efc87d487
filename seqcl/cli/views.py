"""`seqcl views`: look at what the views do to your data."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note


@click.command("views")
@click.argument("preset", metavar="PRESET|FILE")
@options.data("data", text="Data to draw: file, folder, glob or scheme:name.")
@click.option(
    "--out",
    metavar="FILE|DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Picture (.svg or .html of series, .png of images and spectrograms), arrays (.npz) or, of "
    "audio, a folder of .wav files to write.",
)
@click.option(
    "--records", type=click.IntRange(1, 64), default=6, show_default=True, help="Records to draw."
)
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change one option of the preset.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed."
)
def command(
    preset: str,
    data_sources: tuple[str, ...],
    out: Path,
    records: int,
    overrides: tuple[str, ...],
    seed: int,
) -> None:
    """Draw records beside the views that the preset makes of them."""
    from seqcl.run.picturing import draw_views

    number = draw_views(preset, data_sources, out, records=records, overrides=overrides, seed=seed)
    note(f"{out}: {number} records with their views")
