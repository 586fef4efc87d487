"""What keeps a server to its own people: a token, known hosts, bounded uploads."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from seqcl.errors import UsageError

__all__ = ["Limits", "TooLarge", "check_host", "is_allowed", "is_loopback", "receive"]

_SHORTEST_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one request."""

    upload_bytes: int = 32 << 20
    matches: int = 100
    play_s: float = 30.0
    query_s: float = 600.0
    """Of an upload, which may be packed a thousandfold."""
    query_steps: int = 1 << 22
    """The same where the rate is not known."""


class TooLarge(Exception):
    """An upload beyond the limit."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, token: str | None) -> None:
    """Raise UsageError where others could reach the server without a good token."""
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise UsageError(
            f"--token: has {len(token)} characters; take at least {_SHORTEST_TOKEN}, hard to guess"
        )
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host}: others could reach the index; give a --token that they need"
        )


def is_allowed(token: str | None, header: str | None, asked: str | None) -> bool:
    """Whether a request carries the token, as ``Authorization: Bearer`` or in its query."""
    if token is None:
        return True
    given = (header or "").removeprefix("Bearer ") or asked or ""
    return hmac.compare_digest(given.encode(), token.encode())


async def receive(chunks: AsyncIterator[bytes], path: Path, most: int) -> None:
    """Write an upload to a file; raises TooLarge once it is beyond `most` bytes."""
    total = 0
    with path.open("wb") as file:
        async for chunk in chunks:
            total += len(chunk)
            if total > most:
                raise TooLarge
            file.write(chunk)
