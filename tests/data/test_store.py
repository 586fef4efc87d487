from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from seqcl.batch import Label, Record
from seqcl.data import store_writer
from seqcl.data.dataset import open_dataset
from seqcl.data.options import DataOptions
from seqcl.data.store import Store, write_arrays
from seqcl.errors import ArtefactError, DataError, SeqclError

LABELS: tuple[Label | None, ...] = (3, None, "Größe", 1.5, ("a", "b"), 3)
LENGTHS = (700, 1, 1_024, 5_000, 0, 33)


def records(seed: int = 0) -> list[Record]:
    rng = np.random.default_rng(seed)
    return [
        Record(
            rng.standard_normal((2, length)).astype(np.float32),
            id=f"r{number}",
            label=label,
            group=None if number % 2 else f"g{number}",
            channels=("x", "y"),
            rate_hz=50.0,
        )
        for number, (length, label) in enumerate(zip(LENGTHS, LABELS, strict=True))
    ]


@pytest.fixture(params=[1, 1_500, 1 << 21])
def path(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store written in blocks of this many values."""
    monkeypatch.setattr(store_writer, "_BLOCK_VALUES", request.param)
    path = tmp_path / "a.h5"
    assert Store.write(path, iter(records())) == 6
    return path


def check(store: Store, expected: list[Record]) -> None:
    entries = list(store.entries())
    assert len(store) == len(entries) == len(expected)
    for row, (entry, record) in enumerate(zip(entries, expected, strict=True)):
        length = record.values.shape[1]
        assert (entry.key, entry.length, entry.id) == (row, length, f"a.h5#{record.id}")
        assert (entry.label, entry.group) == (record.label, record.group)
        assert (entry.channels, entry.rate_hz, entry.named) == (("x", "y"), 50.0, True)
        np.testing.assert_array_equal(store.read(row, 0, length), record.values)


def test_records_come_back_as_they_went_in(path: Path) -> None:
    check(Store(path), records())


def test_any_window_is_read(path: Path) -> None:
    store, values = Store(path), records()[3].values
    for start, stop in ((0, 1), (1_000, 1_050), (1_020, 3_100), (4_999, 5_000), (7, 7)):
        np.testing.assert_array_equal(store.read(3, start, stop), values[:, start:stop])
    for start, stop in ((-1, 3), (3, 2), (4_000, 5_001)):
        with pytest.raises(IndexError, match="of 5000"):
            store.read(3, start, stop)


def test_records_are_appended_and_the_classes_grow(path: Path) -> None:
    more = records(1)
    assert Store.append(path, more) == 6
    check(Store(path), records() + more)


def test_the_layout_is_the_documented_one(path: Path) -> None:
    with h5py.File(path) as file:
        assert dict(file.attrs) == {
            "format": "seqcl-store",
            "version": 1,
            "rate_hz": 50,
            "named": 1,
        }
        assert file["values"].shape == (sum(LENGTHS), 2)
        assert file["values"].chunks == (1_024, 2)
        assert file["values"].compression is None
        assert file["offsets"][:].tolist() == [0, *np.cumsum(LENGTHS)]
        assert file["labels"][:].tolist() == [0, -1, 1, 2, 3, 0]
        assert file["classes"].asstr()[2] == "1.5"


def test_an_id_that_is_not_utf_8_is_kept_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    Store.write(path, [Record(np.zeros((1, 5), np.float32), "x\udcff")])
    assert [entry.id for entry in Store(path).entries()] == ["a.h5#x\ufffd"]


def test_records_without_names_or_rate_stay_so(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    Store.write(path, [Record(np.zeros((2, 5), np.float32), "r")])
    store = Store(path)
    assert (store.channels, store.named, store.rate_hz) == (("c0", "c1"), False, None)


def test_a_store_that_fails_to_be_written_leaves_what_was_there(path: Path) -> None:
    before = path.read_bytes()

    def failing() -> Iterator[Record]:
        yield from records()
        raise KeyboardInterrupt

    for write in (Store.write, Store.append):
        with pytest.raises(KeyboardInterrupt):
            write(path, failing())
        with pytest.raises(DataError, match=r"r9: has channels x, the store has x, y; select"):
            write(path, [*records(), Record(np.zeros((1, 3), np.float32), "r9", channels=("x",))])
        with pytest.raises(DataError, match="no records to write"):
            write(path, [])
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_told_and_leaves_no_part(tmp_path: Path) -> None:
    with pytest.raises(SeqclError, match=r"none/a\.h5: cannot be written"):
        Store.write(tmp_path / "none" / "a.h5", records())


def test_a_store_pickles_without_its_handle(path: Path) -> None:
    store = Store(path)
    copy = pickle.loads(pickle.dumps(store))
    assert copy._open is None
    check(copy, records())


def test_a_forked_process_opens_the_file_itself(path: Path) -> None:
    store = Store(path)
    handle = store._values().file.id.get_vfd_handle()
    child = os.fork()
    if child == 0:
        try:
            check(store, records())
            fresh = store._open is not None and store._open[0] == os.getpid()
            os._exit(0 if fresh else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert store._values().file.id.get_vfd_handle() == handle
    check(store, records())


def break_(path: Path, change: Callable[[h5py.File], object]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def replace(file: h5py.File, name: str, data: object) -> None:
    del file[name]
    file[name] = data


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.attrs.pop("format"), DataError, "is HDF5 but not a seqcl store"),
        (lambda f: f.attrs.update(format=["seqcl-store"] * 2), DataError, "not a seqcl store"),
        (lambda f: f.attrs.update(rate_hz="fast"), ArtefactError, "rate_hz or named is no number"),
        (lambda f: replace(f, "labels", np.zeros(6)), ArtefactError, "labels and groups not integ"),
        (lambda f: f.attrs.update(version=2), ArtefactError, "format 2, .* reads 1"),
        (
            lambda f: f["offsets"].write_direct(np.arange(7)),
            ArtefactError,
            "offsets do not rise from 0",
        ),
        (lambda f: replace(f, "offsets", [0, 9, 5, 7, 9, 9, 6758]), ArtefactError, "do not rise"),
        (lambda f: replace(f, "offsets", np.zeros(0)), ArtefactError, "offsets do not rise"),
        (lambda f: replace(f, "ids", ["a"]), ArtefactError, "not one for each recording"),
        (lambda f: replace(f, "channels", ["x"]), ArtefactError, "channels do not fit values"),
        (
            lambda f: replace(f, "channels", [1, 2]),
            ArtefactError,
            "channels is not a column of text",
        ),
        (lambda f: replace(f, "values", np.zeros((6758, 2))), ArtefactError, "not .* float32"),
        (lambda f: f.pop("values"), DataError, "values: no such dataset"),
        (lambda f: replace(f, "classes", ["1"]), ArtefactError, "a label or group is out of range"),
        (lambda f: replace(f, "classes", ["{"] * 4), ArtefactError, "class .* is not JSON"),
    ],
)
def test_an_inconsistent_store_is_refused(
    tmp_path: Path, change: Callable[[h5py.File], object], error: type[Exception], message: str
) -> None:
    path = tmp_path / "a.h5"
    Store.write(path, records())
    break_(path, change)
    with pytest.raises(error, match=message):
        list(Store(path).entries())


def test_a_hostile_store_is_refused_by_every_way_in(tmp_path: Path) -> None:
    path, secret = tmp_path / "a.h5", tmp_path / "secret.h5"
    Store.write(path, records())
    Store.write(secret, records())

    def change(file: h5py.File) -> None:
        del file["values"]
        file["values"] = h5py.ExternalLink(str(secret), "/values")

    break_(path, change)
    ways: tuple[Callable[[], object], ...] = (
        lambda: Store(path),
        lambda: Store.append(path, records()),
        lambda: open_dataset([str(path)], DataOptions(window=8)),
        lambda: open_dataset([str(tmp_path)], DataOptions(window=8)),  # in a folder too
    )
    for way in ways:
        with pytest.raises(ArtefactError, match=r"a\.h5: values: 'values' is a link"):
            way()


def test_arrays_are_written_whole_with_text_as_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    values = np.arange(6.0).reshape(2, 3)
    write_arrays(path, {"embeddings": values, "ids": np.array(["a", "Größe"])})
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["embeddings"][:], values)
        assert file["ids"].asstr()[:].tolist() == ["a", "Größe"]
