"""`seqcl list`: what there is."""

from __future__ import annotations

import rich_click as click

from seqcl.errors import UsageError, did_you_mean


@click.command("list")
@click.argument("kind", required=False)
def command(kind: str | None) -> None:
    """List the components of a KIND (or of every kind), and the presets."""
    from seqcl.registry import REGISTRIES

    kinds = {"presets", *REGISTRIES}
    if kind is not None and kind not in kinds:
        raise UsageError(f"unknown kind {kind!r}.{did_you_mean(kind, kinds)}")
    for name in sorted(kinds) if kind is None else [kind]:
        members = ", ".join(_presets() if name == "presets" else REGISTRIES[name])
        click.echo(members.replace(", ", "\n") if kind else f"{name}: {members}")


def _presets() -> tuple[str, ...]:
    from importlib import resources

    folder = resources.files("seqcl.presets")
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))
