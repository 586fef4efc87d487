from __future__ import annotations

import os

import numpy as np
import pytest

from seqcl.errors import DataError
from seqcl.modalities.sequence.spool import Spool

ROW = np.dtype([("values", "<f4", (2,)), ("time", "<i8")])


def table(count: int, first: int = 0) -> np.ndarray:
    rows = np.empty(count, ROW)
    rows["time"] = first + np.arange(count)
    rows["values"] = rows["time"][:, None] * [1.0, -1.0]
    return rows


def blocks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


@pytest.mark.parametrize("memory_rows", [0, 10, 55, 1000])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_rows_come_back_from_memory_and_from_the_file(memory_rows, size):
    spool = Spool(memory_rows * ROW.itemsize)
    tables = [table(50), table(3, 100), table(20, 200)]
    kept = [spool.add(blocks(rows, size), ROW) for rows in tables]
    for rows, found in zip(tables, kept, strict=True):
        assert found.count == len(rows)
        np.testing.assert_array_equal(found.read(1, 3), rows[1:3])
        np.testing.assert_array_equal(np.concatenate(list(found.blocks(0, len(rows), 8))), rows)
    assert spool.on_disk == (memory_rows < 73)


def test_memory_holds_no_more_than_it_may():
    spool = Spool(10 * ROW.itemsize)
    small, large = spool.add([table(8)], ROW), spool.add([table(8)], ROW)
    assert small.array is not None
    assert large.array is None
    assert spool.free_bytes == 2 * ROW.itemsize


def test_a_table_that_breaks_off_leaves_nothing():
    def broken():
        yield table(5)
        raise DataError("broken")

    spool = Spool(0)
    with pytest.raises(DataError, match="broken"):
        spool.add(broken(), ROW)
    assert not spool.on_disk
    np.testing.assert_array_equal(spool.add([table(4)], ROW).read(0, 4), table(4))


def test_the_file_has_no_name_and_is_readable_in_a_forked_process(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = Spool(0).add([table(9)], ROW)
    assert list(tmp_path.iterdir()) == []
    child = os.fork()
    if child == 0:
        os._exit(0 if rows.read(2, 3)["time"][0] == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_full_disk_names_the_folder_and_the_variable(monkeypatch):
    class Full:
        def seek(self, place):
            return place

        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda prefix: Full())
    with pytest.raises(DataError, match="No space left on device; set TMPDIR"):
        Spool(0).add([table(3)], ROW)
