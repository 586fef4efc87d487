"""`seqcl describe NAME`: a component's description and options, or a preset."""

from __future__ import annotations

import rich_click as click


@click.command("describe")
@click.argument("name")
def command(name: str) -> None:
    """Show what a component or preset does, its options, types and defaults."""
    from seqcl.config.describe import describe

    click.echo(describe(name))
