"""The page and its API: answers, limits, and what must never be read through it."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import socket
import sys
import threading
import wave
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from seqcl.batch import Record
from seqcl.data.dataset import Dataset, dataset_from_arrays, open_dataset
from seqcl.data.options import DataOptions
from seqcl.data.store_writer import write_records
from seqcl.errors import UsageError
from seqcl.retrieval.searcher import Searcher
from seqcl.retrieval.server import Limits, make_app, serve
from seqcl.retrieval.server.guard import check_host, is_loopback
from seqcl.retrieval.server.media import picture, wav
from seqcl.retrieval.server.service import Service

Update = Callable[..., Any]
TOKEN = "a token that is long enough"
CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")


class PlainEmbedder:
    """Opens files as they are and embeds windows as their values."""

    layout = "CT"

    def __init__(self, plain: Callable[[Dataset], np.ndarray]) -> None:
        self.embed = plain

    def open(self, source: str, most_steps: int | None = None) -> Dataset:
        return open_dataset([source], DataOptions(max_steps=most_steps or 1 << 40))

    def from_arrays(self, arrays: Sequence[np.ndarray]) -> Dataset:
        return dataset_from_arrays(list(arrays))


class Parts(PlainEmbedder):
    """Opens tables in which `part` tells recordings apart."""

    def open(self, source: str, most_steps: int | None = None) -> Dataset:
        return open_dataset([source], DataOptions(group="part"))


@pytest.fixture
def searcher(update: Update, clips: Path, tmp_path: Path) -> Searcher:
    update(clips)
    return Searcher(tmp_path / "index", PlainEmbedder(update.__kwdefaults__["embed"]))


@pytest.fixture
def client(searcher: Searcher) -> TestClient:
    return TestClient(make_app(searcher), raise_server_exceptions=False)


def ask(client: TestClient, path: Path, **asked: object) -> Any:
    options = {"name": path.name, **asked}
    return client.post("/api/search", params=options, content=path.read_bytes())


def test_the_page_needs_no_other_host(client: TestClient) -> None:
    for name in ("/", "/page.js", "/page.css"):
        found = client.get(name)
        assert found.status_code == 200
        assert "://" not in found.text
        assert found.headers["content-security-policy"].startswith("default-src 'self'")


def test_a_query_is_answered_without_paths_of_this_machine(client: TestClient, clips: Path) -> None:
    found = ask(client, clips / "5.csv", k=3)
    best = found.json()["matches"][0]
    assert (best["recording"], best["label"]) == ("5.csv", "b")
    assert best["score"] == pytest.approx(1, abs=1e-6)
    assert len(found.json()["matches"]) == 3
    assert found.json()["identified"]["recording"] == "5.csv"
    assert str(clips) not in found.text
    assert "/" not in found.json()["identified"]["query"]
    labelled = ask(client, clips / "5.csv", label="a").json()["matches"]
    assert {match["label"] for match in labelled} == {"a"}


def test_info_map_and_pictures(client: TestClient, searcher: Searcher) -> None:
    info = client.get("/api/info").json()
    assert (info["entries"], info["recordings"]) == (len(searcher), 8)
    assert info["labels"] == ["a", "b"]
    found = client.get("/api/map").json()
    assert len(found["points"]) == len(found["entries"]) == len(searcher)
    shown = client.get(f"/api/picture/{found['entries'][7]}").json()
    assert shown["kind"] == "lines"
    low, high = shown["span"]
    assert 0 <= low < high <= 1


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/api/sound/..%2f..%2fetc%2fpasswd",
     "/api/picture/%2fetc%2fpasswd", "/app.py", "/manifest.json", "/api/picture/../../manifest"],
)  # fmt: skip
def test_no_path_leads_to_a_file(client: TestClient, path: str) -> None:
    found = client.get(path)
    assert found.status_code in (404, 422)
    assert "root:" not in found.text


@pytest.mark.parametrize("entry", [-1, 10**6, 2**70])
def test_only_entries_of_the_index_are_shown(client: TestClient, entry: int) -> None:
    found = client.get(f"/api/picture/{entry}")
    assert (found.status_code, found.json()) == (400, {"error": f"there is no entry {entry}"})


def test_an_upload_beyond_the_limit_is_refused(searcher: Searcher, clips: Path) -> None:
    client = TestClient(make_app(searcher, limits=Limits(upload_bytes=100)))
    found = ask(client, clips / "5.csv")
    assert found.status_code == 413
    assert "larger than" in found.json()["error"]


@pytest.mark.parametrize(
    ("name", "content", "status", "message"),
    [
        ("q.csv", b"\x00\xff\xfe garbage", 422, "query.csv"),
        ("q.csv", b"", 422, "query.csv"),
        ("q.npz", b"PK\x03\x04 not a zip", 422, "query.npz"),
        ("q.csv", b"x\n1\n2\n3", 422, "has 3 steps and an entry of the index has 16"),
        ("q.exe", b"MZ", 400, "q.exe: no reader for this suffix"),
        ("q.png", b"\x89PNG", 400, "q.png: no reader for this suffix"),
        ("../../../etc/q.csv", b"x\n1", 422, "query.csv"),
    ],
)
def test_a_malformed_upload_is_told(
    client: TestClient, name: str, content: bytes, status: int, message: str
) -> None:
    found = client.post("/api/search", params={"name": name}, content=content)
    assert (found.status_code, message in found.json()["error"]) == (status, True), found.text
    assert "/tmp" not in found.text


@pytest.mark.parametrize(
    "part", [{"at": "nan"}, {"at": "inf"}, {"at": "1e308"}, {"length": "inf"}, {"length": "nan"}]
)
def test_a_part_that_cannot_be_is_told(
    client: TestClient, clips: Path, part: dict[str, str]
) -> None:
    found = ask(client, clips / "5.csv", **part)
    assert (found.status_code, "asked for" in found.json()["error"]) == (400, True), found.text


def test_several_recordings_at_once_are_refused(client: TestClient, tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", X=np.zeros((3, 1, 20), np.float32))
    assert "holds 3 recordings" in ask(client, tmp_path / "many.npz").json()["error"]


def test_two_hundred_searches_at_once(searcher: Searcher, clips: Path) -> None:
    names = [f"{number % 8}.csv" for number in range(200)]
    transport = httpx.ASGITransport(app=make_app(searcher))

    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://index") as client:
            calls = [
                client.post(f"/api/search?name={name}&k=1", content=(clips / name).read_bytes())
                for name in names
            ]
            return await asyncio.gather(*calls)

    found = asyncio.run(all_at_once())
    assert {answer.status_code for answer in found} == {200}
    assert [answer.json()["matches"][0]["recording"] for answer in found] == names


def test_a_file_that_was_deleted_since(client: TestClient, clips: Path) -> None:
    query = clips / "1.csv"
    found = ask(client, query, k=1).json()["matches"][0]
    text = query.read_bytes()
    query.unlink()
    gone = client.get(f"/api/picture/{found['entry']}")
    assert gone.status_code == 410
    assert gone.json()["error"].startswith("1.csv: its file is gone")
    again = client.post("/api/search", params={"name": "1.csv"}, content=text)
    assert again.json()["matches"][0]["recording"] == "1.csv"


def overwritten(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.translate(str.maketrans("0123456789", "9876543210")))


def linked_elsewhere(path: Path) -> None:
    secret = path.rename(path.parent.parent / "secret.csv")  # the same bytes and time
    path.symlink_to(secret)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x.csv").write_text("x\n1\n2\n")


@pytest.mark.parametrize("change", [overwritten, linked_elsewhere, cut_short, made_a_folder])
def test_a_file_that_is_another_now_is_not_shown(
    client: TestClient, clips: Path, change: Callable[[Path], None]
) -> None:
    entry = ask(client, clips / "1.csv", k=1).json()["matches"][0]["entry"]
    change(clips / "1.csv")
    found = client.get(f"/api/picture/{entry}")
    assert found.status_code == 410
    assert found.json()["error"].startswith("1.csv: its file is gone or is no longer")


def test_a_file_that_was_only_touched_is_shown(client: TestClient, clips: Path) -> None:
    entry = ask(client, clips / "1.csv", k=1).json()["matches"][0]["entry"]
    before = client.get(f"/api/picture/{entry}").json()
    os.utime(clips / "1.csv", (0, 0))
    assert client.get(f"/api/picture/{entry}").json() == before


def test_the_recording_of_an_entry_is_shown_where_others_of_its_file_are_too_short(
    update: Update, tmp_path: Path
) -> None:
    rows = [
        f"{100 * number},{name}" for number, name in enumerate("abc") for _ in range(9 + number)
    ]
    (tmp_path / "s.csv").write_text("\n".join(["x,part", *rows]))
    update(
        tmp_path / "s.csv",
        options=DataOptions(window=10, hop=10, group="part", max_skipped=0.5),
    )
    searcher = Searcher(tmp_path / "index", Parts(update.__kwdefaults__["embed"]))
    shown = [float(searcher.excerpt(place, 0, 5).values.mean()) for place in range(2)]
    assert shown == [100, 200]


def test_a_query_that_unpacks_to_more_than_is_taken(searcher: Searcher, clips: Path) -> None:
    client = TestClient(make_app(searcher, limits=Limits(query_steps=40)))
    assert ask(client, clips / "1.csv").status_code == 200
    found = ask(client, clips / "7.csv", at=0, length=20)
    assert found.status_code == 422
    assert found.json()["error"] == "query.csv: is too long; at most 40 steps are taken"


def test_a_query_of_sensor_rows_is_bounded_in_rows_whatever_their_rate(
    update: Update, tmp_path: Path
) -> None:
    """Ten minutes are a limit for sound; of rows a minute they would be ten rows."""
    folder = tmp_path / "plant"
    folder.mkdir()
    rng = np.random.default_rng(4)
    for name in "ab":
        stamps = np.datetime64("2024-01-01T00:00") + np.arange(70) * np.timedelta64(1, "m")
        rows = [
            f"{stamp},{value:.5f}" for stamp, value in zip(stamps, rng.normal(size=70), strict=True)
        ]
        (folder / f"{name}.csv").write_text("\n".join(["time,x", *rows]))
    update(folder)
    searcher = Searcher(tmp_path / "index", PlainEmbedder(update.__kwdefaults__["embed"]))
    client = TestClient(make_app(searcher))
    found = ask(client, folder / "b.csv", k=1)
    assert found.status_code == 200
    assert found.json()["matches"][0]["recording"] == "b.csv"
    assert len(found.json()["picture"]["values"][0]) == 70
    shown = client.get(f"/api/picture/{found.json()['matches'][0]['entry']}").json()
    assert len(shown["values"][0]) > 16


@pytest.mark.parametrize("k", [0, -4, 1_000_000])
def test_a_number_of_matches_that_cannot_be_is_refused(
    client: TestClient, clips: Path, k: int
) -> None:
    found = ask(client, clips / "1.csv", k=k)
    assert found.status_code == 422
    assert f"k: is {k}; give 1 to" in found.json()["error"]


def test_an_address_in_use_is_told_and_nothing_announced(searcher: Searcher) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told: list[str] = []
        with pytest.raises(UsageError, match=rf"--port {port}: Address already in use; take an"):
            serve(searcher, port=port, on_ready=lambda: told.append("ready"))
    assert not told


def test_a_token_is_needed_where_there_is_one(searcher: Searcher, clips: Path) -> None:
    client = TestClient(make_app(searcher, token=TOKEN))
    assert client.get("/").status_code == 200
    assert client.get("/api/info").status_code == 401
    assert ask(client, clips / "5.csv").status_code == 401
    assert client.get("/api/info", params={"token": TOKEN[:-1]}).status_code == 401
    assert client.get("/api/info", params={"token": TOKEN}).status_code == 200
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/map", headers=bearer).status_code == 200


def test_requests_to_other_hosts_are_refused(searcher: Searcher) -> None:
    client = TestClient(make_app(searcher, hosts=("localhost",)))
    assert client.get("/api/info", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/api/info", headers={"Host": "localhost:8765"}).status_code == 200


def test_an_open_host_needs_a_good_token(searcher: Searcher) -> None:
    assert all(is_loopback(host) for host in ("127.0.0.9", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "x.org"))
    with pytest.raises(UsageError, match=r"--host 0\.0\.0\.0: others could reach the index"):
        serve(searcher, host="0.0.0.0")
    with pytest.raises(UsageError, match="--token: has 5 characters; take at least 16"):
        check_host("127.0.0.1", "short")
    check_host("0.0.0.0", TOKEN)


def test_without_fastapi_it_is_said_what_to_install(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "seqcl.retrieval.server.app", raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(UsageError, match=r"needs fastapi.*pip install 'seqcl\[serve\]'"):
        make_app(searcher)


def sounds(path: Path) -> None:
    """Write a store of three tones at 8 kHz, a second each."""
    steps = np.arange(8_000) / 8_000
    write_records(path, [
        Record(np.sin(2 * np.pi * pitch * steps)[None].astype(np.float32) / 2, f"tone{pitch}",
               rate_hz=8_000.0) for pitch in (200, 1_000, 3_000)
    ])  # fmt: skip


@pytest.fixture
def tones(update: Update, tmp_path: Path) -> Searcher:
    """Index three tones."""
    sounds(tmp_path / "tones.h5")
    update(tmp_path / "tones.h5", options=DataOptions(window=2_000, hop=1_000))
    return Searcher(tmp_path / "index", PlainEmbedder(update.__kwdefaults__["embed"]))


def test_sound_is_played_from_where_it_matches(tones: Searcher) -> None:
    client = TestClient(make_app(tones))
    assert client.get("/api/info").json()["sound"] is True
    entry = int(tones.entries.ids_of(tones.entries.recording == 1)[3])
    with wave.open(io.BytesIO(client.get(f"/api/sound/{entry}").content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (8_000, 1, 5_000)
    assert client.get(f"/api/picture/{entry}").json()["kind"] == "spectrogram"


def test_series_cannot_be_played(client: TestClient) -> None:
    found = client.get("/api/sound/0")
    assert (found.status_code, "no rate" in found.json()["error"]) == (400, True)


def test_a_spectrogram_is_brightest_at_the_tone() -> None:
    steps = np.arange(8_000) / 8_000
    shown = picture(np.sin(2 * np.pi * 1_000 * steps)[None].astype(np.float32), 8_000.0)
    raw = np.frombuffer(base64.b64decode(shown["values"]), np.uint8)
    rows = raw.reshape(shown["height"], shown["width"]).mean(axis=1)
    mel = 2595 * np.log10(1 + 1_000 / 700) / (2595 * np.log10(1 + 4_000 / 700))
    assert abs(int(rows.argmax()) - (1 - mel) * shown["height"]) <= 2


def test_wav_holds_the_samples_and_scales_what_is_too_loud() -> None:
    values = np.array([[0.5, -0.5, np.nan], [0.5, -0.5, 0.0]], np.float32)
    with wave.open(io.BytesIO(wav(values, 4_000.0))) as file:
        samples = np.frombuffer(file.readframes(3), "<i2")
    assert samples.tolist() == [16384, -16384, 0]
    with wave.open(io.BytesIO(wav(4 * values[:1, :2], 4_000.0))) as file:
        assert np.abs(np.frombuffer(file.readframes(2), "<i2")).max() == 32767


def test_lines_keep_gaps_and_shrink() -> None:
    values = np.ones((2, 1_000), np.float32)
    values[1, :10] = np.nan
    shown = picture(values, None)
    assert shown["channels"] == 2
    assert len(shown["values"][0]) <= 400
    assert shown["values"][1][0] is None
    assert shown["values"][0][0] == 1.0


@pytest.fixture
def address(tones: Searcher) -> Iterator[str]:
    """Serve the tones on a free port."""
    import uvicorn

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = make_app(tones, hosts=("127.0.0.1",))
    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready.set()

    server = Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ready.wait()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


browser_test = pytest.mark.skipif(
    CHROMIUM is None or find_spec("playwright") is None, reason="needs Chromium and playwright"
)


@browser_test
def test_an_answer_that_a_later_question_has_overtaken_is_not_shown(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import sync_playwright

    for name, pitch, steps in (("slow", 1_000, 4_000), ("quick", 200, 3_000)):
        wave_form = np.sin(2 * np.pi * pitch * np.arange(steps) / 8_000)
        (tmp_path / f"{name}.csv").write_text("\n".join(["c0", *(f"{x:.4f}" for x in wave_form)]))
    most, answer, late = (tmp_path / "quick.csv").stat().st_size, Service.answer, threading.Event()

    def answered(self: Service, path: Path, *asked: Any) -> dict[str, Any]:
        if path.stat().st_size > most:
            late.wait(20)
        return answer(self, path, *asked)

    monkeypatch.setattr(Service, "answer", answered)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.set_input_files("#file", tmp_path / "slow.csv")
        page.set_input_files("#file", tmp_path / "quick.csv")
        page.wait_for_selector("#matches li")
        with page.expect_response("**/api/search?name=slow*"):
            late.set()
        page.wait_for_timeout(200)
        assert "tone200" in page.locator("#matches li").first.inner_text()
        assert page.locator("#query figcaption").inner_text() == "quick.csv"
        browser.close()


@browser_test
def test_the_page_finds_draws_and_plays(address: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    sounds(tmp_path / "query.h5")
    (tmp_path / "one.csv").write_text("c0\n" + "\n".join(
        f"{value:.4f}" for value in np.sin(2 * np.pi * 1_000 * np.arange(3_000) / 8_000)
    ))  # fmt: skip
    faults: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
        page.goto(address)
        page.set_input_files("#file", tmp_path / "one.csv")
        page.wait_for_selector("#matches li")
        assert "tone1000" in page.locator("#matches li").first.inner_text()
        assert page.locator("#matches audio").count() == page.locator("#matches li").count()
        assert not page.locator("#record").is_hidden()
        page.set_input_files("#file", tmp_path / "query.h5")
        page.wait_for_selector("#status.bad")
        assert "holds 3 recordings" in page.locator("#status").inner_text()
        drawn = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)"
        assert page.locator("#map").evaluate(drawn)
        assert page.locator("#matches canvas").first.evaluate(drawn)
        browser.close()
    assert [text for text in faults if "400" not in text] == []
