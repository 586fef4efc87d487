from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest

from seqcl.batch import Record
from seqcl.data.reader import Columns
from seqcl.data.store import Store
from seqcl.errors import DataError
from seqcl.modalities.sequence.hdf5 import Hdf5Reader


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    records = [
        Record(
            values=rng.standard_normal((3, steps)).astype(np.float32),
            id=f"r{steps}",
            label=steps % 2,
            group="g",
            channels=("a", "b", "c"),
            rate_hz=25.0,
        )
        for steps in (2000, 7, 300)
    ]
    Store.write(tmp_path / "s.h5", records)
    return tmp_path / "s.h5", records


def test_recordings_come_back_with_all_that_is_known_of_them(store):
    path, records = store
    reader = Hdf5Reader()
    for entry, record in zip(reader.scan(path), records, strict=True):
        assert (entry.id, entry.length) == (f"s.h5#{record.id}", record.values.shape[1])
        found = reader.read(entry, 2, 6)
        np.testing.assert_array_equal(found.values, record.values[:, 2:6])
        assert (found.label, found.group, found.rate_hz, found.channels) == (
            record.label, "g", 25.0, ("a", "b", "c"),
        )  # fmt: skip


def test_channels_are_picked_by_name(store):
    path, records = store
    reader = Hdf5Reader(Columns(values=("c", "a")))
    entry = next(iter(reader.scan(path)))
    assert entry.channels == ("c", "a")
    np.testing.assert_array_equal(reader.read(entry, 0, 9).values, records[0].values[[2, 0], :9])
    with pytest.raises(DataError, match="has no channel 'd'"):
        list(Hdf5Reader(Columns(values=("d",))).scan(path))


def test_reader_pickles_while_it_is_open(store):
    path, records = store
    reader = Hdf5Reader()
    entry = next(iter(reader.scan(path)))
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again.read(entry, 0, 9).values, records[0].values[:, :9])


def test_hdf5_that_is_no_store_is_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["values"] = np.zeros((3, 3), np.float32)
    with pytest.raises(DataError, match=r"a\.h5: is HDF5 but not a seqcl store"):
        list(Hdf5Reader().scan(tmp_path / "a.h5"))
