"""`seqcl export`: a run as one graph, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note


@click.command("export")
@options.run_folder
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "torch"]),
    required=True,
    help="ONNX, or a program of torch.export.",
)
@click.option(
    "--out",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.",
)
def command(run: Path, form: Any, out: Path) -> int:
    """Export RUN: scaler, front end, encoder, embedding and, of a fine-tuned run, the head.

    The graph takes values (B, C, T) in the units of the data and is compared with the run before
    it is written.
    """
    from seqcl.run import load
    from seqcl.run.embedding import check_output
    from seqcl.run.exporting import export

    check_output("--out", out)
    result = export(load(run), form, out)
    length = "records of the training length"
    if result.any_length:
        length = (
            f"records of {'any length' if result.least == 1 else f'{result.least} steps or more'}"
        )
    nan = ", NaN missing" if result.gaps else ", no NaN"
    note(
        f"{out}: {', '.join(result.outputs)} of batches of any size, {length}{nan}; "
        f"differs from the run by at most {result.difference:.1e}"
    )
    return 0
