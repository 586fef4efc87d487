"""`seqcl schema`: the JSON schema of a preset, for editors."""

from __future__ import annotations

import json

import rich_click as click


@click.command("schema")
def command() -> None:
    """Print the JSON schema of presets, with every registered component."""
    from seqcl.config.describe import preset_schema

    click.echo(json.dumps(preset_schema(), indent=2, default=str))
