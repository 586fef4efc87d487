"""`seqcl report`: the page of a run."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note


@click.command("report")
@options.run_folder
@click.option(
    "--out",
    metavar="FILE.html",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Page to write; it needs no network and no other file.",
)
def command(run: Path, out: Path) -> None:
    """Write how RUN trained as one self-contained HTML page.

    `seqcl evaluate --report FILE.html` adds the table, the map and the confusion matrix.
    """
    from seqcl.run import load
    from seqcl.run.embedding import check_output
    from seqcl.run.reporting import report_training

    check_output("--out", out, (".html",))
    report_training(load(run), out)
    note(f"report: {out}")
