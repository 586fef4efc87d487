"""Neighbours by Qdrant: those of faiss, of the index as it is; tried by the client's local mode."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from seqcl.errors import ArtefactError, LockedError, MissingInputError, UsageError
from seqcl.retrieval.qdrant import QdrantNeighbours, collection_name, connect, upload
from seqcl.retrieval.ranking import Ranker

NAME = collection_name(Path("some where/my index"), "0123456789abcdef")


@pytest.fixture
def client(tmp_path: Path) -> Any:
    pytest.importorskip("qdrant_client")
    opened = connect(str(tmp_path / "qdrant"), make=True)
    yield opened
    opened.close()


class Refusing(BaseHTTPRequestHandler):
    """Answers as a server that keeps what it has."""

    code = 403

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/collections" else self.code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(b'{"result": {"collections": []}, "status": "ok"}')

    def do_PUT(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """Run a server that only lists its collections; give its address."""
    pytest.importorskip("qdrant_client")
    with HTTPServer(("127.0.0.1", 0), Refusing) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def near(client: Any, ranker: Ranker) -> QdrantNeighbours:
    upload(client, NAME, ranker.entries, ranker.shards)
    return QdrantNeighbours(client, NAME, len(ranker.entries))


def test_it_finds_what_faiss_finds(near: QdrantNeighbours, ranker: Ranker) -> None:
    queries = ranker.shards.read(ranker.entries.ids[[3, 17]])
    queries = queries + np.float32(0.05) * np.random.default_rng(0).normal(size=queries.shape)
    scores, found = near.search(queries.astype(np.float32), 9)
    want_scores, want = ranker.neighbours.search(queries.astype(np.float32), 9)
    assert np.array_equal(found, want)
    assert np.allclose(scores, want_scores, atol=1e-5)
    assert len(near) == len(ranker.neighbours)


def test_only_allowed_entries_are_found_and_the_rest_is_minus_one(
    near: QdrantNeighbours, ranker: Ranker
) -> None:
    allowed = np.zeros(int(ranker.entries.ids.max()) + 1, dtype=bool)
    allowed[[2, 5]] = True
    scores, found = near.search(ranker.shards.read(np.array([2])), 4, allowed)
    assert found.tolist() == [[2, 5, -1, -1]]
    assert np.isneginf(scores[0, 2:]).all()


def test_an_index_that_was_not_uploaded_as_it_is_is_refused(near: QdrantNeighbours) -> None:
    assert NAME == "my-index-0123456789ab"
    with pytest.raises(MissingInputError, match="holds 0 of 5 entries"):
        QdrantNeighbours(near.client, "my-index-fedcba987654", 5)


def test_an_upload_that_was_cut_off_is_made_again(near: QdrantNeighbours, ranker: Ranker) -> None:
    gone = ranker.entries.ids[:7].tolist()
    near.client.delete(NAME, points_selector=gone)
    with pytest.raises(MissingInputError, match="upload the index as it is now"):
        QdrantNeighbours(near.client, NAME, len(ranker.entries))
    upload(near.client, NAME, ranker.entries, ranker.shards)
    (point,) = near.client.retrieve(NAME, gone[:1], with_payload=True)
    assert point.payload["recording"] == ranker.entries.recordings[0].name
    assert len(QdrantNeighbours(near.client, NAME, len(ranker.entries))) == len(ranker.entries)


def test_a_missing_client_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(UsageError, match=r"pip install 'seqcl\[qdrant\]'"):
        connect("http://localhost:6333")


def test_a_server_that_does_not_answer_is_told() -> None:
    pytest.importorskip("qdrant_client")
    place = "http://127.0.0.1:1"
    with pytest.raises(MissingInputError, match=f"qdrant {place}: .*refused; check the address"):
        connect(place)
    with pytest.raises(UsageError, match=r"qdrant http://a b: .*; give http://HOST:PORT"):
        connect("http://a b")


def test_a_server_that_refuses_is_told_in_one_line(server: str, ranker: Ranker) -> None:
    client = connect(server)
    reason = f"qdrant {server}: .*403 .*QDRANT_API_KEY"
    for ask in (
        lambda: upload(client, NAME, ranker.entries, ranker.shards),
        lambda: QdrantNeighbours(client, NAME, len(ranker.entries)),
        lambda: client.delete_collection(NAME),
    ):
        with pytest.raises(MissingInputError, match=reason) as told:
            ask()
        assert "\n" not in str(told.value)


def test_a_server_that_is_busy_says_when_to_come_again(
    server: str, ranker: Ranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refusing, "code", 429)
    with pytest.raises(MissingInputError, match=r"no more requests for now .*again in 7 s"):
        upload(connect(server), NAME, ranker.entries, ranker.shards)


@pytest.mark.parametrize("name", ["meta.json", "storage.sqlite"])
def test_a_damaged_folder_is_told(tmp_path: Path, ranker: Ranker, name: str) -> None:
    pytest.importorskip("qdrant_client")
    with closing(connect(str(tmp_path / "qdrant"), make=True)) as client:
        upload(client, NAME, ranker.entries, ranker.shards)
    (damaged,) = (tmp_path / "qdrant").rglob(name)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(ArtefactError, match="is damaged .*; remove the folder and run 'seqcl"):
        connect(str(tmp_path / "qdrant"))


def test_a_folder_is_made_only_where_it_is_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("qdrant_client")
    (tmp_path / "other").mkdir()
    for name in ("new", "other"):
        with pytest.raises(MissingInputError, match="is no folder of Qdrant's local mode"):
            connect(str(tmp_path / name))
    assert [path.name for path in tmp_path.rglob("*")] == ["other"]
    connect(str(tmp_path / "new"), make=True).close()
    connect(str(tmp_path / "new")).close()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file: cannot be opened \(File exists\); name a folder"):
        connect(str(tmp_path / "file"), make=True)


def test_a_folder_that_is_open_elsewhere_is_locked(client: Any, tmp_path: Path) -> None:
    with pytest.raises(LockedError, match="another process has it open; wait for it"):
        connect(str(tmp_path / "qdrant"))
