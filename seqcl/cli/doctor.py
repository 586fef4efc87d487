"""`seqcl doctor`: whether this installation is sound."""

from __future__ import annotations

import rich_click as click


@click.command("doctor")
def command() -> int:
    """Check versions, devices, plugins and one training step; exit 1 if something fails."""
    from seqcl.run.checkup import check_up

    checks = check_up()
    for check in checks:
        click.echo(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:12} {check.detail}")
    return 0 if all(check.passed for check in checks) else 1
