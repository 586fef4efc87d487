"""`seqcl dedupe`: which recordings of an index are nearly the same."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note, print_table


@click.command("dedupe")
@options.index_folder
@click.option(
    "--threshold",
    type=click.FloatRange(-1, 1),
    default=0.98,
    show_default=True,
    help="Lowest cosine of two entries that match.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Part of the shorter recording's entries that must match the other's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(index: Path, threshold: float, share: float, as_json: bool) -> None:
    """Group the recordings of INDEX that are nearly the same, in whole or in part."""
    from seqcl.run.indexing import ClipIndex

    opened = ClipIndex.open(index)
    known = opened.entries.recordings
    found = opened.duplicates(threshold, share)
    groups = [(group.score, [known[row].name for row in group.recordings]) for group in found]
    if as_json:
        plain = [{"score": round(score, 6), "recordings": names} for score, names in groups]
        click.echo(json.dumps(plain, indent=2))
    elif groups:
        rows = [
            ("" if place else f"{number}", name, "" if place else f"{score:.4f}")
            for number, (score, names) in enumerate(groups, 1)
            for place, name in enumerate(names)
        ]
        print_table(("group", "recording", "lowest score"), rows)
    note(f"{len(groups):,} groups among {len(known):,} recordings")
