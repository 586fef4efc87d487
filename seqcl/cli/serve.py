"""`seqcl serve`: a page over an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from seqcl.cli import options
from seqcl.cli.progress import note


@click.command("serve")
@options.index_folder
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8765, show_default=True, help="Port."
)
@click.option(
    "--token",
    envvar="SEQCL_TOKEN",
    metavar="TEXT",
    help="What every request must carry, 16 characters or more; needed where --host is not this "
    "machine. Better given by the variable SEQCL_TOKEN, which no list of processes shows.",
)
@click.option(
    "--max-upload",
    type=options.FiniteRange(min=0, min_open=True, max=1 << 20),
    default=32,
    show_default=True,
    help="Largest query, MB.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]")
@options.device
def command(index: Path, host: str, port: int, token: str | None, **given: Any) -> None:
    """Serve a page over INDEX: drop a file or record one, see and hear what is like it.

    Only recordings of the index can be read through it.
    """
    from seqcl.retrieval.server import Limits, serve
    from seqcl.retrieval.server.guard import check_host
    from seqcl.run.indexing import ClipIndex

    check_host(host, token)
    opened = ClipIndex.open(index, device=given["device"], cpu_threads=given["threads"])

    def ready() -> None:
        shown = f"[{host}]" if ":" in host else host
        note(f"serving {len(opened):,} entries on http://{shown}:{port} (Ctrl-C ends it)")
        if token is not None:
            note("open it with ?token=... behind the address")

    limits = Limits(upload_bytes=int(given["max_upload"] * (1 << 20)))
    serve(opened, host=host, port=port, token=token, limits=limits, on_ready=ready)
