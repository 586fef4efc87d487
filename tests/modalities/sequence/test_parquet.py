from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from seqcl.data.reader import Columns
from seqcl.errors import DataError
from seqcl.modalities.sequence import unpacking
from seqcl.modalities.sequence.table import TableReader


def scan(path, **columns):
    reader = TableReader(Columns(**columns))
    return reader, list(reader.scan(path))


def write(path, **columns):
    parquet.write_table(pa.table(columns), path)
    return path


TIMES = [dt.datetime(2024, 1, 1) + dt.timedelta(milliseconds=20 * i) for i in range(4)]


def test_every_type_of_number_is_a_channel(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        when=pa.array(TIMES, pa.timestamp("us")),
        half=pa.array([0.5, None, 1.5, 2.5], pa.float32()),
        whole=pa.array([1, 2, 3, (1 << 60) + 1], pa.int64()),
        flag=pa.array([True, False, None, True]),
        money=pa.array([decimal.Decimal("1.25")] * 4),
        note=["a", "b", "c", "d"],
        label=pa.array([False, False, True, True]),
    )
    reader, (entry,) = scan(path, time="when")
    assert entry.channels == ("half", "whole", "flag", "money")
    assert (entry.rate_hz, entry.length, entry.named) == (50.0, 4, True)
    record = reader.read(entry, 0, 4)
    np.testing.assert_array_equal(
        record.values,
        np.array(
            [[0.5, np.nan, 1.5, 2.5], [1, 2, 3, 1 << 60], [1, 0, np.nan, 1], [1.25] * 4], np.float32
        ),
    )
    assert record.step_labels.tolist() == [0, 0, 1, 1]
    assert np.diff(record.times).tolist() == [20_000_000] * 3


def test_time_is_found_by_name_and_groups_are_runs(tmp_path):
    path = write(
        tmp_path / "a.parquet", timestamp=[1, 2, 1, 2], unit=[7, 7, 8, 8], x=[1.0, 2.0, 3.0, 4.0]
    )
    _, entries = scan(path, group="unit")
    assert [(entry.group, entry.length, entry.rate_hz) for entry in entries] == [
        ("7", 2, 1.0),
        ("8", 2, 1.0),
    ]


def test_a_parquet_table_equals_the_same_table_as_text(tmp_path):
    x = np.random.default_rng(0).standard_normal(200_000)
    path = write(tmp_path / "a.parquet", x=x)
    (tmp_path / "a.csv").write_text("x\n" + "\n".join(map(repr, x.tolist())))
    (reader, (entry,)), (text, (same,)) = scan(path), scan(tmp_path / "a.csv")
    np.testing.assert_array_equal(
        reader.read(entry, 0, 200_000).values, text.read(same, 0, 200_000).values
    )


def test_disorder_and_bad_stamps_are_told_by_row(tmp_path):
    path = write(tmp_path / "a.parquet", time=[1, 2, 5, 4], x=[1.0] * 4)
    with pytest.raises(
        DataError, match=r"a\.parquet: row 3: time 1970-01-01 00:00:04 .* comes after"
    ):
        scan(path)
    path = write(tmp_path / "b.parquet", time=pa.array([1, None, 5]), x=[1.0] * 3)
    with pytest.raises(DataError, match=r"b\.parquet: row 1: time None"):
        scan(path)


def test_a_text_channel_is_told_with_its_type(tmp_path):
    path = write(tmp_path / "a.parquet", state=["a"], x=[1.0])
    with pytest.raises(DataError, match="column 'state' is string; drop it with data.columns"):
        scan(path, values=("state",))


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_told_in_one_line(tmp_path, part):
    path = write(tmp_path / "a.parquet", x=np.arange(10_000.0))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * part)])
    with pytest.raises(DataError, match=r"a\.parquet: is no sound Parquet file") as caught:
        scan(path)
    assert "\n" not in str(caught.value)


def test_more_rows_than_any_file_of_that_size_holds_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", x=np.zeros(1_000_000))
    assert path.stat().st_size < 8_000  # one value, a million times
    monkeypatch.setattr(unpacking, "BOMB_BYTES", 1_000_000)
    with pytest.raises(DataError, match="a table of 1,000,000 rows unpacks from"):
        scan(path)


def test_an_empty_table_is_told(tmp_path):
    with pytest.raises(DataError, match="has no rows below its header"):
        scan(write(tmp_path / "a.parquet", x=pa.array([], pa.float32())))
