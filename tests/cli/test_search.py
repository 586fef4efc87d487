"""`seqcl index`, `search`, `identify` and `dedupe`, from files to matches, and their faults."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import SMALL, Seqcl, run_command

import seqcl as library
from seqcl.cli.progress import print_table
from seqcl.errors import DataError, UsageError
from seqcl.retrieval import as_json
from seqcl.run.embedding import open_for
from seqcl.run.folder import load
from seqcl.run.indexing import ClipIndex, index_sources

WINDOW = ("--set", "data.window=32", "--set", "data.hop=8")


def write_clip(path: Path, seed: int, steps: int = 200) -> None:
    rng = np.random.default_rng(seed)
    phase = np.cumsum(rng.uniform(0.05, 0.3) + 0.1 * rng.normal(size=steps))
    rows = [f"{a:.5f},{b:.5f}" for a, b in zip(np.sin(phase), np.cos(1.7 * phase), strict=True)]
    path.write_text("\n".join(["x,y", *rows]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write ten recordings, pretrain for a moment and index them."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "clips").mkdir()
    rows = ["file,label,group"]
    for number in range(10):
        write_clip(folder / "clips" / f"{number}.csv", number)
        rows.append(f"{number}.csv,{'ab'[number % 2]},g{number // 2}")
    (folder / "clips" / "labels.csv").write_text("\n".join(rows))
    for command in (
        ("pretrain", "series", "--data", "clips", "--out", "run", "--set", "training.steps=4",
         *WINDOW, *SMALL),
        ("index", "run", "--data", "clips", "--out", "index"),
    ):  # fmt: skip
        done = run_command(command, folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    """Copy what was made, so that a test may change it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_query_that_is_in_the_index_is_found_first(work: Path, seqcl: Seqcl) -> None:
    shutil.copy(work / "clips" / "3.csv", work / "query.csv")
    (found,) = json.loads(seqcl("search", "index", "query.csv", "-k", "4", "--json").stdout)
    best = found["matches"][0]
    assert (best["recording"], best["label"], best["group"]) == ("3.csv", "b", "g1")
    assert best["score"] == pytest.approx(1, abs=1e-6)
    assert best["margin"] == pytest.approx(best["score"] - found["matches"][1]["score"], abs=2e-6)
    assert best["probability"] is None  # above all that was counted
    assert all(0 < match["probability"] < 1 for match in found["matches"][1:])
    assert len({match["recording"] for match in found["matches"]}) == 4
    (found,) = json.loads(
        seqcl("search", "index", "query.csv", "--exclude-self", "--label", "b", "--json").stdout
    )
    names = [match["recording"] for match in found["matches"]]
    assert sorted(names) == ["1.csv", "5.csv", "7.csv", "9.csv"]


def test_the_same_file_has_the_same_embedding_bit_for_bit(work: Path) -> None:
    index = library.ClipIndex.open(work / "index", device="cpu")
    run = library.load(work / "run")
    assert len(index) == 10 * 22
    from seqcl.retrieval.queries import make_queries

    for name in ("0.csv", "7.csv"):
        (query,) = make_queries(index.embedder, str(work / "clips" / name), index.manifest.settings)
        place = next(p for p, r in enumerate(index.entries.recordings) if r.name == name)
        ids = index.entries.ids_of(index.entries.recording == place)
        assert np.array_equal(query.vectors, index.ranker.shards.read(ids))
    values = np.loadtxt(work / "clips" / "7.csv", delimiter=",", skiprows=1).T
    found = run.embed([values[:, :32]], device="cpu")
    first = index.ranker.shards.read(index.entries.ids_of(index.entries.recording == place)[:1])
    np.testing.assert_allclose(found / np.linalg.norm(found), first, atol=1e-5)


def test_an_excerpt_and_an_array_are_looked_for(work: Path) -> None:
    index = library.ClipIndex.open(work / "index")
    path = work / "clips" / "6.csv"
    (found,) = index.search(path, k=2, at=48, length=32)
    assert found.first == 48
    assert (found.matches[0].place.recording, found.matches[0].place.start) == ("6.csv", 48)
    assert found.matches[0].score == pytest.approx(1, abs=1e-6)
    values = np.loadtxt(path, delimiter=",", skiprows=1).T
    (same,) = index.search(values[:, 48:80], k=2)
    assert as_json(same)["matches"] == as_json(found)["matches"]
    (every,) = index.search(path, k=30, at=48, length=32, every=True)
    assert len(every.matches) == 30
    assert len({match.place.recording for match in every.matches}) < 30


def test_a_part_of_a_recording_is_identified_with_its_place(work: Path, seqcl: Seqcl) -> None:
    done = seqcl("identify", "index", "clips/4.csv", "--at", "63", "--for", "90", "--json")
    (found,) = json.loads(done.stdout)
    assert found["recording"] == "4.csv"
    assert abs(found["start"] - 63) <= 8
    assert "4.csv" in seqcl("identify", "index", "clips/4.csv").stdout


def test_a_faster_part_is_identified_by_an_index_of_speeds(work: Path, seqcl: Seqcl) -> None:
    values = np.loadtxt(work / "clips" / "4.csv", delimiter=",", skiprows=1)
    steps = 40 + 1.06 * np.arange(120)
    rows = np.stack([np.interp(steps, np.arange(len(values)), column) for column in values.T], 1)
    (work / "fast.csv").write_text("\n".join(["x,y", *(f"{a:.5f},{b:.5f}" for a, b in rows)]))
    seqcl("index", "run", "--data", "clips", "--out", "speeds", "--speed", "0.06")
    (found,) = json.loads(seqcl("identify", "speeds", "fast.csv", "--json").stdout)
    (plain,) = json.loads(seqcl("identify", "index", "fast.csv", "--json").stdout)
    assert (found["recording"], plain["speed"]) == ("4.csv", 1.0)
    assert found["speed"] == pytest.approx(1.06, abs=0.011)
    assert abs(found["start"] - 40) <= 8
    assert found["score"] > plain["score"]
    index = library.ClipIndex.open(work / "speeds")
    again = index.identify(rows[:, :].T.astype(np.float32))[0]
    assert as_json(again)["speed"] == found["speed"]
    (short,) = index.identify(rows[:32].T.astype(np.float32))  # a window: no slower cut of it
    assert short.speed >= 1.0
    (alone,) = index.identify(work / "fast.csv")
    (work / "both").mkdir()
    shutil.copy(work / "fast.csv", work / "both" / "fast.csv")
    write_clip(work / "both" / "long.csv", 40, 3_000)
    with_long = {one.query: one for one in index.identify(work / "both")}
    assert with_long["fast.csv"] == alone  # its windows are not thinned for a longer query
    faulty = seqcl("index", "run", "--data", "clips", "--out", "x", "--speed", "nan", code=2)
    assert "speed is nan; give a share from 0 to 0.2" in faulty.stderr
    refused = seqcl("index", "run", "--data", "clips", "--out", "speeds", "--speed", "0.1", code=2)
    assert "was made with speed=0.06, asked for is 0.1" in refused.stderr


def test_an_index_of_before_there_were_speeds_is_read(work: Path, seqcl: Seqcl) -> None:
    path = work / "index" / "manifest.json"
    facts = json.loads(path.read_text())
    del facts["settings"]["speed"]
    path.write_text(json.dumps(facts))
    assert "4.csv" in seqcl("identify", "index", "clips/4.csv").stdout


def test_copies_are_grouped(work: Path, seqcl: Seqcl) -> None:
    seqcl("index", "run", "--data", "clips", "--out", "index", "--prune")  # moved with the test
    shutil.copy(work / "clips" / "2.csv", work / "clips" / "=copy.csv")
    done = seqcl("index", "run", "--data", "clips", "--out", "index")
    assert "1 added, 10 unchanged" in done.stderr
    groups = json.loads(seqcl("dedupe", "index", "--threshold", "0.9999", "--json").stdout)
    (group,) = [group for group in groups if "2.csv" in group["recordings"]]
    assert group["recordings"] == ["2.csv", "=copy.csv"]
    assert group["files"] == [str(work / "clips" / name) for name in group["recordings"]]
    table = seqcl("dedupe", "index", "--threshold", "0.9999").stdout
    assert " clips/=copy.csv" in table
    rows = list(csv.DictReader(io.StringIO(
        seqcl("search", "index", "clips/2.csv", "-k", "2", "--csv").stdout
    )))  # fmt: skip
    assert {row["recording"] for row in rows} == {"2.csv", "'=copy.csv"}  # no formula


def test_an_index_is_quantised_anew_and_its_settings_are_kept(work: Path, seqcl: Seqcl) -> None:
    seqcl("index", "run", "--data", "clips", "--out", "small", "--set", "data.window=64",
          "--precision", "float16", "--quantise", "sq8")  # fmt: skip
    done = seqcl("index", "run", "--data", "clips", "--out", "small", "--quantise", "none")
    assert "10 unchanged" in done.stderr
    assert "flat; made" in done.stderr
    index = library.ClipIndex.open(work / "small")
    assert (index.manifest.settings.window, index.manifest.settings.hop) == (64, 8)
    assert index.search(work / "clips" / "1.csv", 1)[0].matches[0].place.recording == "1.csv"


def test_a_structure_that_is_refused_leaves_the_index_as_it_was(work: Path, seqcl: Seqcl) -> None:
    (work / "few").mkdir()
    write_clip(work / "few" / "0.csv", 0)
    seqcl("index", "run", "--data", "few", "--out", "small")
    refused = seqcl("index", "run", "--data", "few", "--out", "small", "--quantise", "pq", code=2)
    assert "learns from at least 256 entries and there are 22" in refused.stderr
    assert seqcl("search", "small", "clips/1.csv").returncode == 0
    assert seqcl("index", "run", "--data", "few", "--out", "small").returncode == 0


def test_files_of_one_name_in_two_folders_are_told_apart(work: Path) -> None:
    run = library.load(work / "run")
    for place, name in enumerate(("left", "right")):
        (work / name).mkdir()
        for number in range(4):
            write_clip(work / name / f"{number}.csv", 20 + 10 * place + number)
        index_sources(run, [str(work / name)], work / "both")
    index = ClipIndex.open(work / "both")
    dataset = open_for(run, [str(work / "left")], index.embedder.overrides)
    samples = index.embedder.changed(index.ranker, dataset)
    entries = index.entries
    files = [entries.files[entries.recordings[one.recording].file].path for one in samples]
    assert len(files) > 10
    assert {Path(file).parent for file in files} == {(work / "left").resolve()}


def test_a_folder_of_queries_and_a_table_for_people(work: Path, seqcl: Seqcl) -> None:
    printed = seqcl("search", "index", "clips/1.csv", "clips/2.csv", "-k", "1").stdout
    assert "1.csv" in printed
    assert "1.0000" in printed
    assert len(json.loads(seqcl("search", "index", "clips", "--json").stdout)) == 10


def test_a_killed_build_loses_nothing(work: Path, seqcl: Seqcl) -> None:
    code = (
        "import os, signal, seqcl\n"
        "from pathlib import Path\n"
        "from seqcl.retrieval import building\n"
        "from seqcl.run.indexing import index_sources\n"
        "building.PIECE = 50\n"
        "def die(done, total):\n"
        "    if done >= 100: os.kill(os.getpid(), signal.SIGKILL)\n"
        "index_sources(seqcl.load('run'), ['clips'], Path('killed'), device='cpu', on_piece=die)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=work, check=False)
    assert done.returncode == -signal.SIGKILL
    assert "interrupted" in seqcl("search", "killed", "clips/1.csv", code=12).stderr
    resumed = seqcl("index", "run", "--data", "clips", "--out", "killed").stderr
    assert "embedded 120 of 120" in resumed
    assert "1 resumed, 4 unchanged" in resumed
    whole, again = (library.ClipIndex.open(work / name) for name in ("index", "killed"))
    assert np.array_equal(
        whole.ranker.shards.read(whole.entries.ids), again.ranker.shards.read(again.entries.ids)
    )
    assert whole.manifest.calibration == again.manifest.calibration


@pytest.mark.parametrize("name", ["catalogue.sqlite", "neighbours.faiss", "run/model.safetensors"])
def test_a_damaged_part_is_noticed(work: Path, seqcl: Seqcl, name: str) -> None:
    raw = bytearray((work / "index" / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (work / "index" / name).write_bytes(raw)
    done = seqcl("search", "index", "clips/1.csv", code=12)
    assert f"{name}: its sha256 is not the one that was noted" in done.stderr


def test_an_index_whose_vectors_are_damaged_is_not_called_whole(work: Path, seqcl: Seqcl) -> None:
    (shard,) = (work / "index" / "vectors").iterdir()
    raw = bytearray(shard.read_bytes())
    raw[-5] ^= 1
    shard.write_bytes(raw)
    again = ("index", "run", "--data", "clips", "--out", "index")
    assert "its sha256 is not the one that was noted" in seqcl(*again, code=12).stderr
    shard.unlink()
    assert "is missing" in seqcl(*again, code=12).stderr


@pytest.mark.parametrize("name", ["neighbours.faiss", "run"])
def test_a_part_that_can_be_made_again_says_so(work: Path, seqcl: Seqcl, name: str) -> None:
    path = work / "index" / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    done = seqcl("search", "index", "clips/1.csv", code=12)
    assert "repeat 'seqcl index', which" in done.stderr
    seqcl("index", "run", "--data", "clips", "--out", "index")
    seqcl("search", "index", "clips/1.csv")


def test_a_file_that_was_indexed_by_a_link_is_read(work: Path) -> None:
    (work / "other.csv").symlink_to(work / "clips" / "2.csv")
    index_sources(library.load(work / "run"), [str(work / "other.csv")], work / "linked")
    index = library.ClipIndex.open(work / "linked")
    values = np.loadtxt(work / "clips" / "2.csv", delimiter=",", skiprows=1).T
    np.testing.assert_allclose(index.excerpt(0, 10, 50).values, values[:, 10:50], atol=1e-6)


def test_options_that_change_no_vector_may_differ_from_call_to_call(
    work: Path, seqcl: Seqcl
) -> None:
    index = ("index", "run", "--data", "clips", "--out", "index")
    free = ("data.max_skipped=0.5", "data.cache=kept", "data.split=part")
    seqcl(*index, *(part for text in free for part in ("--set", text)))
    kept = library.ClipIndex.open(work / "index").manifest.settings.overrides
    assert kept == ("data.max_skipped=0.5", "data.split=part")
    seqcl(*index)
    done = seqcl(*index, "--set", "data.missing=hold", code=2)
    assert "was made with data.missing=zero, asked for is hold; leave it out" in done.stderr


def test_a_build_that_was_killed_at_its_first_step_goes_on(work: Path, seqcl: Seqcl) -> None:
    (work / "begun" / "vectors").mkdir(parents=True)
    for name in ("lock", "catalogue.sqlite", "catalogue.sqlite-journal", "catalogue.sqlite-wal"):
        (work / "begun" / name).touch()
    seqcl("index", "run", "--data", "clips", "--out", "begun")
    (found,) = json.loads(seqcl("search", "begun", "clips/1.csv", "--json").stdout)
    assert found["matches"][0]["recording"] == "1.csv"


def test_what_is_not_there_or_is_no_index(work: Path, seqcl: Seqcl) -> None:
    assert "no such index" in seqcl("search", "nothing", "clips/1.csv", code=10).stderr
    assert "no such file" in seqcl("search", "index", "clips/11.csv", code=10).stderr
    assert "is no manifest of an index" in seqcl("dedupe", "run", code=12).stderr
    done = seqcl("index", "run", "--data", "clips", "--out", "clips", code=2)
    assert "holds other files and no index" in done.stderr


def test_queries_that_cannot_be_used(work: Path, seqcl: Seqcl) -> None:
    write_clip(work / "short.csv", 1, steps=20)
    done = seqcl("search", "index", "short.csv", code=4)
    assert "has 20 steps and an entry of the index has 32; give a longer query" in done.stderr
    done = seqcl("search", "index", "clips/1.csv", "--at", "190", "--for", "20", code=2)
    assert "has 200 steps, asked for 190 to 210" in done.stderr
    done = seqcl("search", "index", "clips/1.csv", "--at", "1000", code=2)
    assert "has 200 steps, asked for 1000 to its end; choose --at and --for" in done.stderr
    done = seqcl("search", "index", "clips/1.csv", "--label", "c", code=2)
    assert "no entry has label 'c'. Known: a, b" in done.stderr


def test_queries_that_cannot_be_read_are_skipped_beside_others(work: Path, seqcl: Seqcl) -> None:
    (work / "asked").mkdir()
    for number in range(24):
        shutil.copy(work / "clips" / f"{number % 10}.csv", work / "asked" / f"{number}.csv")
    (work / "asked" / "bad.csv").write_text("")
    write_clip(work / "short.csv", 1, steps=20)
    for command in ("search", "identify"):
        done = seqcl(command, "index", "asked", "short.csv", "clips/3.csv", "--json", code=3)
        assert len(json.loads(done.stdout)) == 25
        assert "skipped: short.csv: has 20 steps" in done.stderr
        assert "bad.csv" in done.stderr
    seqcl("search", "index", "nowhere.csv", "clips/3.csv", code=10)


def test_recordings_that_are_too_short_are_skipped_beside_others(work: Path, seqcl: Seqcl) -> None:
    shutil.copytree(work / "clips", work / "asked", ignore=shutil.ignore_patterns("labels.csv"))
    for number, name in enumerate(("a", "z")):
        write_clip(work / "asked" / f"{name}.csv", number, steps=20 + number)
    for command in ("search", "identify"):
        done = seqcl(command, "index", "asked", "--json", code=3)
        assert json.loads(done.stdout) == json.loads(
            seqcl(command, "index", "clips", "--json").stdout
        )
        assert "skipped: a.csv: has 20 steps and an entry of the index has 32" in done.stderr
        assert "skipped: z.csv: has 21 steps and an entry of the index has 32" in done.stderr
        for form in (("asked",), tuple(f"asked/{name}.csv" for name in "a3z")):
            part = ("--at", "10", "--for", "40", "--json")
            done = seqcl(command, "index", *form, *part, code=3)
            assert len(json.loads(done.stdout)) == (10 if len(form) == 1 else 1)
            assert "skipped: a.csv: has 20 steps, asked for 10 to 50" in done.stderr
            assert "skipped: z.csv: has 21 steps, asked for 10 to 50" in done.stderr


def test_the_first_fault_is_an_error_where_no_query_is_left(work: Path, seqcl: Seqcl) -> None:
    (work / "asked").mkdir()
    for number, name in enumerate(("a", "z")):
        write_clip(work / "asked" / f"{name}.csv", number, steps=20 + number)
    for form in (("asked",), ("asked/a.csv", "asked/z.csv")):
        done = seqcl("search", "index", *form, code=4)
        assert done.stderr.startswith("seqcl: a.csv: has 20 steps and an entry of the index has 32")
        done = seqcl("identify", "index", *form, "--at", "19", "--for", "40", code=2)
        assert done.stderr.startswith("seqcl: a.csv: has 20 steps, asked for 19 to 59")
    asked = ("search", "index", "asked", "clips/1.csv")
    done = seqcl(*asked, "--json", code=3)
    assert "skipped: z.csv: has 21 steps" in done.stderr
    done = seqcl(*asked, "--label", "c", code=2)
    assert "no entry has label 'c'" in done.stderr


def test_a_recording_that_is_too_short_is_left_out_and_noted(work: Path) -> None:
    index = library.ClipIndex.open(work / "index")
    write_clip(work / "clips" / "short.csv", 1, steps=20)
    dataset = index.embedder.open(str(work / "clips"))
    for found in (index.search(dataset, 2), index.search(dataset, 2, at=0)):
        assert {one.query for one in found} == {f"{number}.csv" for number in range(10)}
    (alone,) = index.search(work / "clips" / "7.csv", 2)
    assert as_json(alone) in [as_json(one) for one in index.search(dataset, 2)]
    (told,) = dataset.skipped
    assert told.path == "short.csv"
    with pytest.raises(DataError, match="has 20 steps and an entry of the index has 32"):
        index.search(work / "clips" / "short.csv")


@pytest.mark.parametrize("k", [0, -3])
def test_fewer_than_one_match_is_refused(work: Path, k: int) -> None:
    index = library.ClipIndex.open(work / "index")
    with pytest.raises(UsageError, match=f"k is {k}; give 1 or more"):
        index.search(work / "clips" / "1.csv", k)


def test_a_long_query_has_every_window_and_so_has_a_short_one_beside_it(work: Path) -> None:
    index = library.ClipIndex.open(work / "index")
    (work / "long").mkdir()
    write_clip(work / "long" / "a.csv", 77, steps=12_000)
    rows = (work / "long" / "a.csv").read_text().splitlines()
    part = (work / "clips" / "6.csv").read_text().splitlines()[1 + 80 : 1 + 80 + 32]
    rows[1 + 8_808 : 1 + 8_808 + 32] = part  # on the index's hop, on no coarser one
    (work / "long" / "a.csv").write_text("\n".join(rows))
    (found,) = index.search(work / "long" / "a.csv", k=1)
    best = found.matches[0]
    assert (best.place.recording, best.query_start) == ("6.csv", 8_808)
    assert best.score == pytest.approx(1, abs=1e-5)
    (same,) = index.search(work / "long" / "a.csv", k=1, at=0)
    assert as_json(same)["matches"] == as_json(found)["matches"]
    write_clip(work / "long" / "b.csv", 78, steps=100)
    (alone,) = index.search(work / "long" / "b.csv")
    both = {one.query: one for one in index.search(work / "long")}
    assert as_json(both["b.csv"])["matches"] == as_json(alone)["matches"]


def test_what_matches_mean_is_learnt_anew_with_other_groups(work: Path, seqcl: Seqcl) -> None:
    seqcl("index", "run", "--data", "clips", "--out", "mine")
    before = ClipIndex.open(work / "mine").manifest.calibration
    names = [f"{number}.csv,{'ab'[number % 2]},g{number % 2}" for number in range(10)]
    (work / "clips" / "labels.csv").write_text("\n".join(["file,label,group", *names]))
    done = seqcl("index", "run", "--data", "clips", "--out", "mine")
    assert "8 described anew" in done.stderr
    seqcl("index", "run", "--data", "clips", "--out", "fresh")
    found, fresh = (ClipIndex.open(work / name).manifest.calibration for name in ("mine", "fresh"))
    assert found == fresh != before


def test_an_index_that_grows_file_by_file_learns_to_tell_strangers(work: Path) -> None:
    run, learnt = load(work / "run"), []
    for number in range(10):
        index_sources(run, [str(work / "clips" / f"{number}.csv")], work / "grown")
        learnt.append(ClipIndex.open(work / "grown").manifest.recognition)
    sizes = [None if one is None else one["recordings"] for one in learnt]
    assert sizes == [None, None, 3, 3, 3, 6, 6, 6, 6, 6]
    (found,) = ClipIndex.open(work / "grown").identify(work / "clips" / "4.csv")
    assert found.place is not None
    assert found.place.recording == "4.csv"
    assert found.confidence is not None
    for number in range(10):
        (work / "clips" / f"{number}.csv").unlink()
    for number in (11, 12):  # twice the size; the others are gone, and one teaches nothing
        write_clip(work / "alone.csv", number)
        (work / "alone.csv").rename(alone := work / f"alone{number}.csv")
        done = index_sources(run, [str(alone)], work / "grown")
        alone.unlink()
    assert done.manifest.recognition == learnt[-1]


@pytest.mark.parametrize("shape", [(3, 200), (2, 0), (200,)])
def test_an_array_of_another_shape_is_refused(work: Path, shape: tuple[int, ...]) -> None:
    index = library.ClipIndex.open(work / "index")
    with pytest.raises(DataError, match=r"the run has 2 channels \(x, y\); needed: an array"):
        index.search(np.zeros(shape, np.float32))


def test_an_array_without_a_value_or_with_an_infinite_one_is_refused(work: Path) -> None:
    index = library.ClipIndex.open(work / "index")
    values = np.loadtxt(work / "clips" / "6.csv", delimiter=",", skiprows=1).T
    for ask in (index.search, index.identify):
        with pytest.raises(DataError, match="#0: has no step with a value; drop it or fill it"):
            ask(np.full((2, 64), np.nan))
        for wrong in (np.inf, -np.inf, 1e300):
            values[0, 9] = wrong
            with pytest.raises(DataError, match="#0: holds a value that is infinite"):
                ask(values)
        values[0, 9] = 0
        values[:, 40:80] = np.nan
        assert len(ask(values)) == 1


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("search", "index", "clips/1.csv"), ("--at", "nan")),
        (("search", "index", "clips/1.csv"), ("--for", "inf")),
        (("identify", "index", "clips/1.csv"), ("--at", "1e400")),
        (("dedupe", "index"), ("--threshold", "nan")),
        (("serve", "index"), ("--max-upload", "nan")),
    ],
)
def test_what_is_no_number_is_refused(
    work: Path, seqcl: Seqcl, command: tuple[str, ...], option: tuple[str, str]
) -> None:
    done = seqcl(*command, *option, code=2)
    assert "is not a finite number" in " ".join(done.stderr.replace("│", " ").split())


def test_a_part_beyond_every_number_is_refused(work: Path, seqcl: Seqcl) -> None:
    done = seqcl("search", "index", "clips/1.csv", "--at", "1e308", "--for", "1e308", code=2)
    assert "has 200 steps, asked for 1e+308 to inf" in done.stderr
    index = library.ClipIndex.open(work / "index")
    for part in ({"at": np.nan}, {"at": np.inf}, {"length": np.nan}, {"length": np.inf}):
        with pytest.raises(UsageError, match="has 200 steps, asked for"):
            index.search(work / "clips" / "1.csv", **part)


def test_an_index_of_whole_recordings_tells_no_place(work: Path, seqcl: Seqcl) -> None:
    seqcl("index", "run", "--data", "clips", "--out", "whole", "--set", "data.window=null",
          "--set", "data.hop=null")  # fmt: skip
    query = ("whole", "clips/4.csv", "--at", "63", "--for", "90")
    (found,) = json.loads(seqcl("identify", *query, "--json").stdout)
    assert found["recording"]
    assert (found["start"], found["start_s"]) == (None, None)
    assert "–" in seqcl("identify", *query).stdout


def test_another_run_and_a_lock_are_refused(work: Path, seqcl: Seqcl) -> None:
    seqcl("pretrain", "series", "--data", "clips", "--out", "two", "--set", "training.steps=1",
          *WINDOW, *SMALL)  # fmt: skip
    done = seqcl("index", "two", "--data", "clips", "--out", "index", code=2)
    assert "was made with another run" in done.stderr
    import fcntl

    with (work / "index" / "lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(str(os.getpid()))
        file.flush()
        done = seqcl("index", "run", "--data", "clips", "--out", "index", code=11)
    assert "is writing this index" in done.stderr


def test_without_faiss_nothing_is_begun(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match=r"pip install 'seqcl\[search\]'"):
        index_sources(library.load(work / "run"), [str(work / "clips")], work / "new")
    assert not (work / "new").exists()


def test_qdrant_gives_the_matches_of_faiss_until_the_index_changes(
    work: Path, seqcl: Seqcl
) -> None:
    pytest.importorskip("qdrant_client")
    place = ("--qdrant", "vectors")
    seqcl("index", "run", "--data", "clips", "--out", "index", *place)
    for command in (("search", "index", "clips/3.csv"), ("identify", "index", "clips/3.csv")):
        with_qdrant = json.loads(seqcl(*command, *place, "--json").stdout)
        assert with_qdrant == json.loads(seqcl(*command, "--json").stdout)
    write_clip(work / "clips" / "new.csv", 77)
    seqcl("index", "run", "--data", "clips", "--out", "index")
    done = seqcl("search", "index", "clips/3.csv", *place, code=10)
    assert "upload the index as it is now" in done.stderr
    seqcl("index", "run", "--data", "clips", "--out", "index", *place)
    from seqcl.retrieval.qdrant import connect

    client = connect(str(work / "vectors"))
    assert len(client.get_collections().collections) == 1  # that of before has gone
    client.close()


def test_qdrant_that_is_not_there_is_told_before_anything_is_done(work: Path, seqcl: Seqcl) -> None:
    pytest.importorskip("qdrant_client")
    nobody = ("--qdrant", "http://127.0.0.1:1")
    for command in (
        ("index", "run", "--data", "clips", "--out", "new"),
        ("search", "index", "clips/3.csv"),
        ("identify", "index", "clips/3.csv"),
    ):
        done = seqcl(*command, *nobody, code=10)
        assert "qdrant http://127.0.0.1:1: [Errno 111] Connection refused; check" in done.stderr
    assert not (work / "new").exists()
    done = seqcl("search", "index", "clips/3.csv", "--qdrant", "vektors", code=10)
    assert "qdrant vektors: is no folder of Qdrant's local mode" in done.stderr
    assert not (work / "vektors").exists()


def test_an_index_of_bytes_alone_has_no_structure_and_finds_the_same(
    work: Path, seqcl: Seqcl
) -> None:
    small = ("--precision", "int8", "--quantise", "stored")
    done = seqcl("index", "run", "--data", "clips", "--out", "small", *small)
    assert "flat, stored" in done.stderr
    seqcl("index", "run", "--data", "clips", "--out", "small")  # nothing new: still whole
    assert not (work / "small" / "neighbours.faiss").exists()
    stored = sum(path.stat().st_size for path in (work / "small" / "vectors").iterdir())
    whole = sum(path.stat().st_size for path in (work / "index" / "vectors").iterdir())
    assert 4 * (stored - 128) == whole - 128
    for query in ("clips/3.csv", "clips/7.csv"):
        best, known = (
            json.loads(seqcl("identify", name, query, "--json").stdout)[0]
            for name in ("small", "index")
        )
        assert best["recording"] == known["recording"] == Path(query).name


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("file", "label"), [("x[b]y :bell:.wav", "[red]z")])
    assert "x[b]y :bell:.wav   [red]z" in capsys.readouterr().out
