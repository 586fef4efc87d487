"""Every registered reader of images: what it scans is what it reads, and what was written."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqcl.batch import Record
from seqcl.data.reader import Columns, Reader
from seqcl.data.store import Store
from seqcl.errors import SeqclError
from seqcl.registry import registry

BYTES = np.random.default_rng(0).integers(0, 256, (3, 3, 6, 5), dtype=np.uint8)
TRUTH = BYTES.astype(np.float32) / np.float32(255)
LABELS = [1, 2, 1]
NAMES = tuple(name for name, reader in registry("readers").items() if "CHW" in reader.layouts)
COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Case:
    """How to write the images, or the first `count` of them, for one reader."""

    write: Callable[[Path], None]
    suffix: str
    count: int = 3
    channels: tuple[str, ...] = COLOURS
    labels: tuple[int | None, ...] = (1, 2, 1)


def write_store(path: Path) -> None:
    records = [
        Record(values=image, id=str(row), label=label, channels=COLOURS)
        for row, (image, label) in enumerate(zip(TRUTH, LABELS, strict=True))
    ]
    Store.write(path, records)


CASES = {
    "image": Case(
        lambda path: Image.fromarray(BYTES[0].transpose(1, 2, 0)).save(path),
        ".png",
        count=1,
        labels=(None,),
    ),
    "image_npz": Case(
        lambda path: np.savez(path, X=BYTES, y=LABELS), ".npz", channels=("c0", "c1", "c2")
    ),
    "hdf5": Case(write_store, ".h5"),
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    assert request.param in CASES, f"add a case for reader {request.param!r}"
    return request.param


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture
def path(case: Case, tmp_path: Path) -> Path:
    path = tmp_path / f"data{case.suffix}"
    case.write(path)
    return path


@pytest.fixture
def reader(name: str) -> Reader:
    return registry("readers")[name]()


def test_what_is_read_is_what_was_written(reader, case, path):
    entries = list(reader.scan(path))
    assert len(entries) == case.count
    for entry, truth, label in zip(entries, TRUTH, case.labels, strict=False):
        record = reader.read(entry, 0, entry.length)
        np.testing.assert_array_equal(record.values, truth)
        assert record.values.dtype == np.float32
        assert entry.size == (6, 5)
        assert entry.length == 30
        assert entry.label == record.label == label
        assert entry.channels == record.channels == case.channels
        assert entry.id == record.id


def test_ids_are_unique_stable_and_begin_with_the_files_name(name, case, reader, path):
    ids = [entry.id for entry in reader.scan(path)]
    assert ids == [entry.id for entry in registry("readers")[name]().scan(path)]
    assert len(set(ids)) == case.count
    assert all(identity.startswith(path.name) for identity in ids)


def test_a_pickled_reader_reads_the_same(reader, path):
    entries = list(reader.scan(path))
    copy = pickle.loads(pickle.dumps(reader))
    for entry, truth in zip(entries, TRUTH, strict=False):
        np.testing.assert_array_equal(copy.read(entry, 0, 30).values, truth)


def test_channels_are_picked_in_the_order_asked_for(name, case, path):
    reader = registry("readers")[name](Columns(values=(case.channels[2], case.channels[0])))
    entry = next(iter(reader.scan(path)))
    assert entry.channels == (case.channels[2], case.channels[0])
    np.testing.assert_array_equal(reader.read(entry, 0, 30).values, TRUTH[0][[2, 0]])


def test_what_is_read_does_not_change_what_is_read_next(reader, path):
    entry = next(iter(reader.scan(path)))
    values = reader.read(entry, 0, 30).values
    if values.flags.writeable:
        values[:] = 99
    np.testing.assert_array_equal(reader.read(entry, 0, 30).values, TRUTH[0])


@pytest.mark.parametrize(("start", "stop"), [(-1, 30), (0, 31), (31, 40)])
def test_pixels_beyond_an_image_are_an_index_error(reader, path, start, stop):
    entry = next(iter(reader.scan(path)))
    with pytest.raises(IndexError, match=f"steps {start} to {stop} of 30"):
        reader.read(entry, start, stop)


@pytest.mark.parametrize("part", [0.0, 0.4, 0.8])
def test_a_file_cut_short_is_told_by_its_name_in_one_line(name, path, part):
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * part)])
    reader = registry("readers")[name]()
    with pytest.raises(SeqclError) as caught:
        [reader.read(entry, 0, entry.length) for entry in reader.scan(path)]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
