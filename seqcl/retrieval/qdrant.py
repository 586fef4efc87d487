"""Vectors of an index in a Qdrant server, which then finds the neighbours instead of faiss.

A collection is named after the folder of the index and the checksum of the catalogue that it was
made from, so that an index that has changed is never searched by vectors that it no longer holds.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.errors import ArtefactError, LockedError, MissingInputError, UsageError
from seqcl.retrieval.entries import Entries
from seqcl.retrieval.shards import Shards

__all__ = ["QdrantNeighbours", "collection_name", "connect", "upload"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

KEY = "QDRANT_API_KEY"
"""Environment variable that holds the key of a server that asks for one."""
_BATCH, _DIGEST = 1_024, 12
_META = "meta.json"
"""The file by which a folder is one of the client's local mode."""
_REASON = 160
"""Characters of a reason that are told."""


def connect(place: str, *, make: bool = False) -> Any:
    """Return a client: of the server at http(s)://..., or of a folder, the client's local mode.

    Args:
        place: address or folder.
        make: make the folder where there is none.

    Raises:
        UsageError: the client is not installed; the place cannot be a folder, or an address.
        MissingInputError: there is no such folder, or no server that answers.
        LockedError: another process has the folder open.
    """
    library = _library()
    if not place.startswith(("http://", "https://")):
        return _Client(place, _opened(library, place, make=make))
    try:
        client = _Client(place, library.QdrantClient(url=place, api_key=os.environ.get(KEY)))
    except ValueError as error:
        raise UsageError(f"qdrant {place}: {_reason(error)}; give http://HOST:PORT") from None
    client.get_collections()
    return client


def collection_name(folder: Path, catalogue_sha256: str) -> str:
    """Return the name of the collection of an index as it is."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", folder.resolve().name)
    return f"{plain}-{catalogue_sha256[:_DIGEST]}"


def upload(client: Any, name: str, entries: Entries, shards: Shards) -> None:
    """Write the vectors of all entries with file, recording, start, label and group.

    A collection that was cut off while it was written is written again.
    """
    models = _library().models
    if client.collection_exists(name):
        if client.count(name, exact=True).count == len(entries):
            return
        client.delete_collection(name)
    ids = entries.ids
    width = shards.read(ids[:1]).shape[1]
    params = models.VectorParams(size=width, distance=models.Distance.DOT)
    client.create_collection(name, vectors_config=params)
    for first in range(0, len(ids), _BATCH):
        part = ids[first : first + _BATCH]
        batch = models.Batch(
            ids=part.tolist(), vectors=shards.read(part).tolist(), payloads=_payloads(entries, part)
        )
        client.upsert(name, points=batch, wait=True)


class QdrantNeighbours:
    """Finds neighbours as `seqcl.retrieval.neighbours.Neighbours` does, by a collection.

    Raises MissingInputError where the index, as it is now, was not uploaded.
    """

    def __init__(self, client: Any, name: str, entries: int) -> None:
        held = client.count(name, exact=True).count if client.collection_exists(name) else 0
        if held != entries:
            raise MissingInputError(
                f"qdrant: collection {name} holds {held:,} of {entries:,} entries; upload the "
                "index as it is now with 'seqcl index ... --qdrant PLACE'"
            )
        self.client, self.name, self.entries = client, name, entries

    def __len__(self) -> int:
        return self.entries

    def search(self, queries: Floats, k: int, allowed: Bools | None = None) -> tuple[Floats, Ints]:
        """Return scores and ids (q, k), best first; id -1 where there are no more."""
        models = _library().models
        chosen = None
        if allowed is not None:
            ids = np.flatnonzero(allowed).tolist()
            chosen = models.Filter(must=[models.HasIdCondition(has_id=ids)])
        requests = [
            models.QueryRequest(query=row, limit=k, filter=chosen) for row in queries.tolist()
        ]
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        found = np.full((len(queries), k), -1, dtype=np.int64)
        answers = self.client.query_batch_points(self.name, requests=requests)
        for row, answer in enumerate(answers):
            count = len(answer.points)
            scores[row, :count] = [point.score for point in answer.points]
            found[row, :count] = [point.id for point in answer.points]
        return scores, found


def _payloads(entries: Entries, ids: Ints) -> list[dict[str, Any]]:
    """Return what a point says of its entry, for other programs that read the collection."""
    numbers, starts = entries.recording_of(ids).tolist(), entries.start_of(ids).tolist()
    rows = []
    for entry, number, start in zip(ids.tolist(), numbers, starts, strict=True):
        recording = entries.recordings[number]
        rows.append(
            {
                "file": entries.files[recording.file].path,
                "recording": recording.name,
                "start": start,
                "label": entries.label_of(entry),
                "group": recording.group,
            }
        )
    return rows


class _Client:
    """A client of the library whose server's refusals are told in one line with its place."""

    def __init__(self, place: str, client: Any) -> None:
        self._place, self._client = place, client

    def __getattr__(self, name: str) -> Any:
        return partial(self._call, getattr(self._client, name))

    def _call(self, method: Callable[..., Any], *given: Any, **options: Any) -> Any:
        with _told(self._place):
            return method(*given, **options)


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Raise MissingInputError where a server does not answer, or not as it should."""
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except ResourceExhaustedResponse as error:
        raise MissingInputError(
            f"qdrant {place}: takes no more requests for now ({_reason(error)}); try again in "
            f"{error.retry_after_s} s"
        ) from None
    except ApiException as error:
        raise MissingInputError(
            f"qdrant {place}: {_reason(error)}; check the address, that a Qdrant server runs "
            f"there, and its key in {KEY}"
        ) from None


def _opened(library: Any, place: str, *, make: bool) -> Any:
    """Open a folder by the client's local mode."""
    if not make and not Path(place, _META).is_file():
        raise MissingInputError(
            f"qdrant {place}: is no folder of Qdrant's local mode; name the one that "
            "'seqcl index ... --qdrant PLACE' wrote, or the address of a server, http://HOST:PORT"
        )
    try:
        return library.QdrantClient(path=place)
    except OSError as error:
        raise UsageError(
            f"qdrant {place}: cannot be opened ({error.strerror}); name a folder that may be "
            "written, or the address of a server, http://HOST:PORT"
        ) from None
    except (ValueError, KeyError, sqlite3.Error) as error:
        raise ArtefactError(
            f"qdrant {place}: is damaged ({_reason(error)}); remove the folder and run 'seqcl "
            "index' again, which uploads everything"
        ) from None
    except RuntimeError as error:
        if "already accessed" not in str(error):
            raise
        raise LockedError(
            f"qdrant {place}: another process has it open; wait for it, or use a Qdrant server"
        ) from None


def _reason(error: Exception) -> str:
    """Return what an error of the library says, in one line."""
    return shorten(str(error) or type(error).__name__, _REASON, placeholder=" ...")


def _library() -> Any:
    try:
        import qdrant_client
    except ImportError:
        raise UsageError(
            "qdrant needs its client, which is not installed: pip install 'seqcl[qdrant]'"
        ) from None
    return qdrant_client
