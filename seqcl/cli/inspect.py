"""`seqcl inspect`: what the data looks like, and a preset for it."""

from __future__ import annotations

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note, note_skipped


@click.command("inspect")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@options.data_overrides
def command(sources: tuple[str, ...], overrides: tuple[str, ...]) -> int:
    """Describe data and propose a preset for it.

    The facts go to stderr, the preset to stdout: seqcl inspect SRC > my.yaml
    """
    from seqcl.run.inspecting import inspect_sources

    found = inspect_sources(sources, overrides)
    for name, value in found.facts:
        note(f"{name:10} {value}")
    click.echo(found.preset, nl=False)
    return note_skipped(found.skipped)
