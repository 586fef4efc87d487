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
    type=options.FiniteRange(-1, 1),
    default=0.98,
    show_default=True,
    help="Lowest cosine of two entries that match.",
)
@click.option(
    "--share",
    type=options.FiniteRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Part of the shorter recording's entries that must match the other's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(index: Path, threshold: float, share: float, as_json: bool) -> None:
    """Group the recordings of INDEX that are nearly the same, in whole or in part."""
    from seqcl.run.indexing import ClipIndex

    opened = ClipIndex.open(index)
    known, files = opened.entries.recordings, opened.entries.files
    groups = opened.duplicates(threshold, share)
    members = [
        [(known[row].name, files[known[row].file].path) for row in group.recordings]
        for group in groups
    ]
    if as_json:
        plain = [
            {
                "score": round(group.score, 6),
                "recordings": [name for name, _ in names],
                "files": [file for _, file in names],
            }
            for group, names in zip(groups, members, strict=True)
        ]
        click.echo(json.dumps(plain, indent=2))
    elif groups:
        here = f"{Path.cwd()}/"
        rows = [
            ("" if place else f"{number}", name, "" if place else f"{group.score:.4f}",
             file.removeprefix(here))
            for number, (group, names) in enumerate(zip(groups, members, strict=True), 1)
            for place, (name, file) in enumerate(names)
        ]  # fmt: skip
        print_table(("group", "recording", "lowest score", "file"), rows)
    note(f"{len(groups):,} groups among {len(known):,} recordings")
