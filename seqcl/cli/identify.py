"""`seqcl identify`: which recording a query is from, and where in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note, note_skipped, print_table

if TYPE_CHECKING:
    from seqcl.retrieval.matches import Identification


@click.command("identify")
@options.index_folder
@options.queries
@options.excerpt
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]")
@options.qdrant("Find neighbours in Qdrant, where 'seqcl index --qdrant' put the vectors.")
@options.device
def command(index: Path, queries: tuple[str, ...], **given: Any) -> int:
    """Say which recording of INDEX each QUERY is from and where in it, or that it is unknown.

    The windows of the query are aligned with those of the recordings. What is unknown was learnt
    when the index was made, see the guide.
    """
    from seqcl.retrieval import as_json
    from seqcl.run.asking import ask_each
    from seqcl.run.indexing import ClipIndex

    opened = ClipIndex.open(
        index, device=given["device"], cpu_threads=given["threads"], qdrant=given["qdrant"]
    )
    chosen = {name: given[name] for name in ("at", "length")}
    answers = ask_each(opened, queries, lambda data: opened.identify(data, **chosen))
    if given["as_json"]:
        click.echo(json.dumps([as_json(one) for one in answers.found], indent=2))
    else:
        _print(answers.found, opened.manifest.recognition)
    for text in answers.notes:
        note(f"note: {text}")
    return note_skipped(answers.skipped)


def _print(found: Sequence[Identification], learnt: Mapping[str, Any] | None) -> None:
    from seqcl.run.matches import identified_row

    header = ("query", "recording", "start", "score", "lead", "confidence", "speed")
    print_table(header, [identified_row(one) for one in found])
    if learnt is None:
        note("note: this index could not learn to tell strangers; the best recording is shown")
    else:
        note(f"note: on its own recordings this index errs in {learnt['error']:.0%} of cases")
