"""`seqcl search`: what in an index is like a query."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note, note_skipped, print_table


@click.command("search")
@options.index_folder
@options.queries
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Matches.")
@options.excerpt
@click.option(
    "--label", "labels", metavar="LABEL", multiple=True, help="Only entries with it; repeatable."
)
@click.option(
    "--exclude-self", is_flag=True, help="Leave out files with the content of the query's own."
)
@click.option(
    "--every", is_flag=True, help="Every entry that matches, not the best of each recording alone."
)
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]")
@options.qdrant("Find neighbours in Qdrant, where 'seqcl index --qdrant' put the vectors.")
@options.device
def command(index: Path, queries: tuple[str, ...], **given: Any) -> int:
    """Find what in INDEX is like each QUERY: a file, a folder or a glob.

    The score is a cosine; higher = more alike. The match column is the probability that it comes
    from the query's own source, where the index can tell.
    """
    from seqcl.run.asking import ask_each
    from seqcl.run.indexing import ClipIndex
    from seqcl.run.matches import CSV_HEADER, csv_rows, table_rows

    opened = ClipIndex.open(
        index, device=given["device"], cpu_threads=given["threads"], qdrant=given["qdrant"]
    )
    chosen = {name: given[name] for name in ("at", "length", "labels", "exclude_self", "every")}
    answers = ask_each(opened, queries, lambda data: opened.search(data, given["k"], **chosen))
    results = answers.found
    if given["form"] == "json":
        from seqcl.retrieval import as_json

        click.echo(json.dumps([as_json(result) for result in results], indent=2))
    elif given["form"] == "csv":
        csv.writer(sys.stdout).writerows([CSV_HEADER, *csv_rows(results)])
    else:
        for result in results:
            print_table(
                ("#", "recording", "start", "label", "score", "match", "margin"),
                table_rows(result),
                title=result.query,
            )
    for text in answers.notes:
        note(f"note: {text}")
    return note_skipped(answers.skipped)
