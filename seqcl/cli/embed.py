"""`seqcl embed`: turn data into vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note, note_skipped


@click.command("embed")
@options.run_folder
@options.data("data", text="Data to embed: file, folder, glob or scheme:name.")
@click.option(
    "--out",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write: .npz, .h5 or .parquet.",
)
@click.option(
    "--level",
    type=click.Choice(["instance", "step"]),
    default="instance",
    show_default=True,
    help="One vector a record, or one a time step.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    show_default="32",
    help="Steps that each vector of --level step sees.",
)
@options.centre
@options.data_overrides
@options.world_size
@options.heavy
def command(run: Path, data_sources: tuple[str, ...], out: Path, **given: Any) -> int:
    """Embed data with the encoder of RUN: arrays embeddings, ids and labels.

    On several processes: torchrun --nproc-per-node N -m seqcl embed …
    """
    from seqcl.distributed import rank
    from seqcl.embeddings.centring import centre_groups
    from seqcl.errors import UsageError
    from seqcl.run import embed_sources, load, write_embeddings
    from seqcl.run.embedding import SUFFIXES, check_output
    from seqcl.run.launching import launched

    check_output("--out", out, SUFFIXES)
    if given["window"] is not None and given["level"] != "step":
        raise UsageError(
            f"--window {given['window']}: has no effect beside --level {given['level']}; add "
            "--level step, or drop --window"
        )
    with launched(given["world_size"], hint="start again"):
        found, dataset = embed_sources(
            load(run),
            data_sources,
            level=given["level"],
            window=given["window"] or 32,
            overrides=given["overrides"],
            device=given["device"],
            batch_size=given["batch_size"] or 256,
            cpu_threads=given["threads"],
            shared=True,
        )
        if rank():
            return 0
        if given["centre"]:
            found = centre_groups(found)
        write_embeddings(found, out)
    for text in dataset.notes:
        note(f"note: {text}")
    rows, size = found.values.shape
    note(f"{out}: {rows:,} vectors of {size} from {len(found):,} records")
    return note_skipped(dataset.skipped)
