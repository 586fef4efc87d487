"""A page over an index: drop a query, see and hear what is like it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
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
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve until interrupted; `on_ready` is called once the address is taken.

    Raises UsageError for an open host without a token, and for an address that cannot be had.
    """
    check_host(host, token)
    hosts = (*_LOOPBACK, host) if is_loopback(host) else ("*",)
    app = make_app(searcher, token=token, limits=limits, hosts=hosts)
    try:
        import uvicorn
    except ImportError as error:
        raise _missing(error) from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen()
        except OSError as error:
            raise UsageError(
                f"--host {host} --port {port}: {error.strerror or error}; take another"
            ) from None
        if on_ready is not None:
            on_ready()
        settings = uvicorn.Config(app, log_level="warning", server_header=False)
        uvicorn.Server(settings).run([listening])


def _missing(error: ImportError) -> UsageError:
    return UsageError(
        f"the server needs {error.name}, which is not installed: pip install 'seqcl[serve]'"
    )
