"""`seqcl index`: make data searchable."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note, note_skipped


@click.command("index")
@options.run_folder
@options.data("data", text="Data to index: file, folder, glob or scheme:name.")
@click.option(
    "--out",
    metavar="INDEX",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the index; one that is there is brought up to date.",
)
@click.option(
    "--quantise",
    type=click.Choice(["none", "sq8", "pq", "stored"]),
    help="Size of a vector in the search structure: whole, a byte a dimension, a byte for every "
    "four, or no structure but the stored vectors themselves, for at most 200,000 entries. "
    "[default: none]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8", "int4", "int2"]),
    help="Of the stored vectors: 4, 2, 1, half or a quarter of a byte a dimension. "
    "[default: float32]",
)
@click.option(
    "--speed",
    type=float,
    metavar="SHARE",
    help="What 'identify' finds though it is played faster or slower by as much, 0.05 for 5 % (at "
    "most 0.2); it then tries every hundredth on both sides. [default: 0]",
)
@click.option("--prune", is_flag=True, help="Drop files that --data does not hold.")
@click.option("--rehash", is_flag=True, help="Read every file, whatever its size and time say.")
@options.qdrant("Write the vectors to Qdrant too.")
@options.data_overrides
@options.heavy
def command(run: Path, data_sources: tuple[str, ...], out: Path, **given: Any) -> int:
    """Embed data with RUN and write an index for search, identify, dedupe and serve.

    Repeat it to add files; unchanged ones are not embedded again. A build that was stopped goes on
    where it was.
    """
    from seqcl.run import load
    from seqcl.run.indexing import index_sources

    result = index_sources(
        load(run),
        data_sources,
        out,
        overrides=given["overrides"],
        precision=given["precision"],
        quantise=given["quantise"],
        speed=given["speed"],
        prune=given["prune"],
        rehash=given["rehash"],
        device=given["device"],
        batch_size=given["batch_size"] or 256,
        cpu_threads=given["threads"],
        qdrant=given["qdrant"],
        on_piece=lambda done, total: note(f"embedded {done:,} of {total:,}"),
    )
    for text in result.notes:
        note(f"note: {text}")
    note(f"files: {result.summary}")
    note(f"search structure: {result.structure}")
    note(f"{out}: {result.entries:,} entries")
    note(f"next: seqcl search {quote(str(out))} QUERY")
    return note_skipped(result.skipped)
