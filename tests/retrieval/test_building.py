"""Bringing an index up to date: only what is new is embedded, and a killed build loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqcl.data.dataset import Dataset
from seqcl.data.options import DataOptions
from seqcl.errors import ArtefactError, UsageError
from seqcl.retrieval import building
from seqcl.retrieval.catalogue import Catalogue
from seqcl.retrieval.folder import CATALOGUE, NEIGHBOURS, VECTORS, IndexSettings, Manifest
from seqcl.retrieval.ranking import Ranker

Update = Callable[..., Any]


class Counting:
    """Embeds as `plain` does, counts the windows, and dies after some pieces."""

    def __init__(self, plain: Callable[[Dataset], np.ndarray], pieces: int = 99) -> None:
        self.plain, self.pieces, self.windows = plain, pieces, 0

    def __call__(self, dataset: Dataset) -> np.ndarray:
        if not self.pieces:
            raise KeyboardInterrupt
        self.pieces -= 1
        self.windows += len(dataset)
        return self.plain(dataset)


@pytest.fixture
def counting(update: Update) -> Callable[..., Counting]:
    plain = update.__kwdefaults__["embed"]
    return lambda pieces=99: Counting(plain, pieces)


def content(ranker: Ranker) -> list[tuple[Any, ...]]:
    """Return recording, start, label and vector of every entry, in an order of their own."""
    entries = ranker.entries
    assert np.array_equal(np.sort(ranker.neighbours.ids()), entries.ids)
    rows = zip(
        [entries.recordings[place].name for place in entries.recording_of(entries.ids).tolist()],
        entries.start_of(entries.ids).tolist(),
        [entries.label_of(entry) for entry in entries.ids.tolist()],
        [vector.tobytes() for vector in ranker.shards.read(entries.ids)],
        strict=True,
    )
    return sorted(rows)


def test_nothing_is_embedded_twice(update: Update, clips: Path, counting: Any) -> None:
    first, again = counting(), counting()
    before = content(update(clips, embed=first)[0])
    ranker, changes = update(clips, embed=again)
    assert (first.windows, again.windows) == (len(before), 0)
    assert changes.unchanged == 8
    assert content(ranker) == before


def test_a_changed_file_is_replaced_and_a_new_one_added(
    update: Update, clips: Path, counting: Any, tmp_path: Path
) -> None:
    update(clips)
    write(clips / "3.csv", 40)
    write(clips / "9.csv", 24)
    embed = counting()
    ranker, changes = update(clips, embed=embed)
    assert (changes.changed, changes.added, changes.unchanged) == (1, 1, 7)
    assert embed.windows == 7 + 3
    found = content(ranker)
    (tmp_path / "index").rename(tmp_path / "old")
    assert found == content(update(clips)[0])


def write(path: Path, steps: int) -> None:
    values = np.random.default_rng(steps).normal(size=steps)
    path.write_text("\n".join(["x", *(f"{value:.6f}" for value in values)]))


def test_a_changed_file_of_the_same_size_and_time_is_found_by_rehash(
    update: Update, clips: Path
) -> None:
    import os

    update(clips)
    path = clips / "2.csv"
    status, text = path.stat(), path.read_text()
    path.write_text(text[:-1] + ("1" if text[-1] != "1" else "2"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert update(clips)[1].changed == 0
    assert update(clips, rehash=True)[1].changed == 1


def test_a_touched_file_is_read_but_not_embedded(
    update: Update, clips: Path, counting: Any
) -> None:
    update(clips)
    (clips / "2.csv").touch()
    embed = counting()
    assert len(update(clips, embed=embed)[1].restamped) == 1
    assert embed.windows == 0
    assert not update(clips)[1].restamped


def test_a_moved_file_and_a_new_label_cost_no_embedding(
    update: Update, clips: Path, counting: Any
) -> None:
    update(clips)
    (clips / "1.csv").rename(clips / "moved.csv")
    labels = clips / "labels.csv"
    labels.write_text(
        labels.read_text().replace("1.csv,b", "moved.csv,z").replace("2.csv,a,g1", "2.csv,q,new")
    )
    embed = counting()
    ranker, changes = update(clips, embed=embed, prune=True)
    assert (embed.windows, len(changes.moved), changes.dropped) == (0, 1, ())
    known = {row[0]: row[2] for row in content(ranker)}
    assert (known["moved.csv"], known["2.csv"]) == ("z", "q")
    assert "1.csv" not in known
    assert "new" in {recording.group for recording in ranker.entries.recordings}


def test_copies_that_moved_together_cost_no_embedding(
    update: Update, clips: Path, counting: Any
) -> None:
    for name in ("copy", "again"):
        (clips / f"{name}.csv").write_bytes((clips / "1.csv").read_bytes())
    before = content(update(clips)[0])
    embed = counting()
    ranker, changes = update(clips.rename(clips.with_name("moved")), embed=embed)
    assert (embed.windows, changes.added, len(changes.moved)) == (0, 0, 10)
    assert (changes.kept, changes.dropped) == ((), ())
    assert content(ranker) == before


def test_files_that_are_gone_stay_until_they_are_pruned(update: Update, clips: Path) -> None:
    before = content(update(clips)[0])
    (clips / "0.csv").unlink()
    labels = clips / "labels.csv"
    labels.write_text(labels.read_text().replace("0.csv,a,g0\n", ""))
    ranker, changes = update(clips)
    assert (content(ranker), len(changes.kept), changes.dropped) == (before, 1, ())
    ranker, _ = update(clips, prune=True)
    assert content(ranker) == [row for row in before if row[0] != "0.csv"]


def test_recordings_of_one_file_do_not_take_the_place_of_others(
    update: Update, tmp_path: Path
) -> None:
    path, options = tmp_path / "many.npz", DataOptions(missing="zero")
    np.savez(path, X=np.random.default_rng(0).normal(size=(6, 1, 16)))
    names = [f"many.npz#{number}" for number in range(6)]

    def held(rows: Sequence[int] | None, *, prune: bool = False) -> list[str]:
        ranker, _ = update(path, options=options, rows=rows, prune=prune)
        vectors = {row[0]: row[3] for row in content(ranker)}
        values = np.load(path)["X"][:, 0].astype(np.float32)
        for name, vector in vectors.items():
            found = np.frombuffer(vector, np.float32)
            own = values[names.index(name)]
            assert found @ own / np.linalg.norm(own) == pytest.approx(1, abs=0.05)
        return sorted(vectors)

    assert held([0, 1, 2]) == names[:3]
    with pytest.raises(UsageError, match="holds other recordings of this file; give all of them"):
        held([3, 4, 5])
    assert held([0, 1, 2]) == names[:3]
    assert held(None) == names
    assert held([3, 4]) == names
    assert held([3, 4], prune=True) == names[3:5]


def test_a_file_of_several_recordings_that_moved_is_known_under_its_new_name(
    update: Update, clips: Path, tmp_path: Path
) -> None:
    options = DataOptions(missing="zero")
    np.savez(clips / "many.npz", X=np.random.default_rng(0).normal(size=(3, 1, 16)))
    for path in clips.glob("*.csv"):
        path.unlink()
    (clips / "labels.csv").write_text("file,label\nmany.npz,z")
    update(clips, options=options)
    (clips / "many.npz").rename(tmp_path / "other.npz")
    for moved in (1, 0):
        ranker, changes = update(tmp_path / "other.npz", options=options)
        assert (changes.unchanged, len(changes.moved), changes.redescribed) == (1, moved, ())
        assert [(row[0], row[2]) for row in content(ranker)] == [
            (f"other.npz#{number}", "z") for number in range(3)
        ]


def test_a_file_given_by_name_keeps_the_labels_that_its_folder_told(
    update: Update, clips: Path
) -> None:
    before = content(update(clips)[0])
    ranker, changes = update(clips / "3.csv")
    assert (changes.unchanged, changes.redescribed, len(changes.kept)) == (1, (), 7)
    assert content(ranker) == before


def test_a_recording_given_by_two_names_is_taken_once(update: Update, clips: Path) -> None:
    before = content(update(clips)[0])
    (clips / "link.csv").symlink_to(clips / "0.csv")
    ranker, changes = update(clips)
    assert changes.unchanged == 8
    assert content(ranker) == before


def test_a_file_that_was_never_embedded_whole_does_not_stay(
    update: Update, clips: Path, counting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "PIECE", 3)
    with pytest.raises(KeyboardInterrupt):
        update(clips, embed=counting(1))
    ranker, changes = update(clips / "7.csv")
    assert [Path(file.path).name for file in changes.dropped] == ["0.csv"]
    assert {row[0] for row in content(ranker)} == {"7.csv"}


@pytest.mark.parametrize("pieces", [0, 1, 4])
def test_a_killed_build_goes_on_where_it_was(
    update: Update, clips: Path, counting: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, pieces: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(building, "PIECE", 10)
    with pytest.raises(KeyboardInterrupt):
        update(clips, embed=counting(pieces))
    stray = tmp_path / "index" / VECTORS / "stray.npy"
    stray.write_bytes(b"written, never committed")
    rest = counting()
    ranker, changes = update(clips, embed=rest)
    assert not stray.exists()
    assert changes.resumed == (1 if pieces else 0)  # one file was cut in two by the kill
    found = content(ranker)
    assert rest.windows == len(found) - 10 * pieces
    (tmp_path / "index").rename(tmp_path / "old")
    assert found == content(update(clips)[0])


def test_a_file_that_changed_while_its_embedding_was_interrupted_begins_anew(
    update: Update, clips: Path, counting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "PIECE", 3)
    with pytest.raises(KeyboardInterrupt):
        update(clips, embed=counting(1))
    write(clips / "0.csv", 44)
    found = content(update(clips)[0])
    (tmp_path / "index").rename(tmp_path / "old")
    assert found == content(update(clips)[0])


def test_a_damaged_search_structure_is_made_again_from_the_vectors(
    update: Update, clips: Path, counting: Any, tmp_path: Path
) -> None:
    before = content(update(clips)[0])
    (tmp_path / "index" / NEIGHBOURS).write_bytes(b"damaged")
    embed = counting()
    assert content(update(clips, embed=embed)[0]) == before
    assert embed.windows == 0


def test_additions_train_nothing(
    update: Update, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqcl.retrieval import neighbours

    monkeypatch.setattr(neighbours, "FLAT_LIMIT", 30)
    update(clips, settings=IndexSettings(run="none", quantise="sq8"))
    monkeypatch.setattr(neighbours.Neighbours, "train", None)
    write(clips / "8.csv", 60)
    ranker, _ = update(clips)
    assert len(content(ranker)) == len(ranker.neighbours)


def test_compacting_keeps_what_is_live(
    update: Update, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "PIECE", 7)
    update(clips)
    for number in (0, 2, 5):
        write(clips / f"{number}.csv", 33 + number)
    ranker, _ = update(clips)
    before, folder = content(ranker), tmp_path / "index"
    dead = len(ranker.shards) - len(ranker.entries)
    manifest = Manifest.of_complete(folder)
    catalogue = Catalogue(folder / CATALOGUE, writable=True)
    assert not building.compact(folder, catalogue, ranker.entries, manifest)
    monkeypatch.setattr(building, "_MOST_SHARDS", 1)
    assert building.compact(folder, catalogue, ranker.entries, manifest)
    catalogue.close()
    after, _ = update(clips)
    assert dead > 0
    assert content(after) == before
    assert len(after.shards) == len(after.entries)
    assert after.entries.ids.tolist() == list(range(len(before)))
    assert len(list((folder / VECTORS).iterdir())) == 1


def test_other_settings_and_another_run_are_refused(tmp_path: Path) -> None:
    manifest = Manifest(IndexSettings(run="one", window=16, hop=4))
    with pytest.raises(UsageError, match="was made with another run"):
        manifest.refuse_other(tmp_path, IndexSettings(run="two", window=16, hop=4))
    with pytest.raises(UsageError, match="was made with hop=4, asked for is 8"):
        manifest.refuse_other(tmp_path, IndexSettings(run="one", window=16, hop=8))
    manifest.refuse_other(tmp_path, IndexSettings(run="one", window=16, hop=4, quantise="sq8"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no manifest of an index"),
        ('{"kind": "seqcl run"}', "is no manifest of an index .* kind is 'seqcl run'"),
        ('{"kind": "seqcl index", "format": 99}', "format 99 is newer"),
        ('{"kind": "seqcl index", "format": 1}', "is no manifest of an index .*settings"),
    ],
)
def test_a_manifest_that_is_damaged_or_too_new(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ArtefactError, match=message):
        Manifest.read(tmp_path)


def test_a_catalogue_that_is_not_one(tmp_path: Path) -> None:
    (tmp_path / CATALOGUE).write_bytes(b"SQLite format 3\0" + b"garbage" * 200)
    with pytest.raises(ArtefactError, match="cannot be used .*restore it, or index again"):
        Catalogue(tmp_path / CATALOGUE, writable=True).files()
