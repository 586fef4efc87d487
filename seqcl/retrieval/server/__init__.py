"""A page over an index: drop a query, see and hear what is like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqcl.errors import UsageError
from seqcl.retrieval.searcher import Searcher
from seqcl.retrieval.server.guard import Limits, check_host, is_loopback

__all__ = ["Limits", "make_app", "serve"]

_USUAL = Limits()
_LOOPBACK = ("localhost", "127.0.0.1", "[")
"""Names by which a browser may ask for this machine; "[" is what is left of ``[::1]:port``."""


def make_app(
    searcher: Searcher,
    *,
    token: str | None = None,
    limits: Limits = _USUAL,
    hosts: Sequence[str] = ("*",),
) -> Any:
    """Return the server as an ASGI application (FastAPI).

    Args:
        searcher: the open index.
        token: what every request but that of the page must carry; None = nothing.
        limits: of one request.
        hosts: names that requests may be addressed to; others are answered with 400.

    Raises:
        UsageError: FastAPI is not installed.
    """
    try:
        from seqcl.retrieval.server.app import build_app
    except ImportError as error:
        raise _missing(error) from None
    return build_app(searcher, token, limits, hosts)


def serve(
    searcher: Searcher,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    limits: Limits = _USUAL,
) -> None:
    """Serve until interrupted; raises UsageError for an open host without a token."""
    check_host(host, token)
    hosts = (*_LOOPBACK, host) if is_loopback(host) else ("*",)
    app = make_app(searcher, token=token, limits=limits, hosts=hosts)
    try:
        import uvicorn
    except ImportError as error:
        raise _missing(error) from None
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)


def _missing(error: ImportError) -> UsageError:
    return UsageError(
        f"the server needs {error.name}, which is not installed: pip install 'seqcl[serve]'"
    )
