"""Tables with data.every: what a regular grid makes of their rows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from seqcl.data.dataset import open_dataset
from seqcl.data.options import DataOptions
from seqcl.errors import DataError

HEAD = "timestamp,flow,heat,label"
ROWS = (
    "2024-01-01 00:00:01,1,,0",
    "2024-01-01 00:00:01,3,,1",
    "2024-01-01 00:00:00,5,,0",
    "2024-01-01 00:00:31.5,7,2,0",
)
MINUTE = np.array([[3, np.nan, np.nan, 7], [np.nan, np.nan, np.nan, 2]])


def opened(path: Path, **options: object):
    return open_dataset([str(path)], DataOptions(every="10s", **options))


def fault(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        opened(path, **options)
    return str(caught.value)


def test_rows_become_intervals_with_means_times_labels_and_a_rate(write_text) -> None:
    data = opened(write_text("a.csv", HEAD, *ROWS))
    record = data.record(0)
    np.testing.assert_array_equal(record.values, MINUTE)
    assert record.step_labels.tolist() == [1, -1, -1, 0]
    assert record.times.tolist() == [(1_704_067_200 + 10 * i) * 10**9 for i in range(4)]
    assert data.rate_hz == 0.1
    assert data.notes == ("4 rows became 4 intervals of 10s (data.every), 2 of them empty",)


def test_tsv_and_parquet_are_brought_to_the_same_grid(write_text) -> None:
    tabbed = write_text("a.tsv", *(row.replace(",", "\t") for row in (HEAD, *ROWS)))
    time, *rest = zip(*(row.split(",") for row in ROWS), strict=True)
    flow, heat, label = ([float(x) if x else None for x in column] for column in rest)
    stamps = pa.array(time).cast(pa.timestamp("ms"))
    table = pa.table({"timestamp": stamps, "flow": flow, "heat": heat, "label": label})
    parquet.write_table(table, stream := io.BytesIO())
    for path in (tabbed, write_text("a.parquet", stream.getvalue())):
        data = opened(path)
        np.testing.assert_array_equal(data.record(0).values, MINUTE)
        assert data.record(0).step_labels.tolist() == [1, -1, -1, 0]
        assert "4 intervals" in data.notes[0]


def test_a_label_in_words_is_the_last_of_the_interval(write_text) -> None:
    rows = ("0,1,on", "1,1,off", "2,1,", "12,1,on")
    data = opened(write_text("a.csv", "time,x,label", *rows), window=1)
    assert list(data.labels) == ["off", "on"]


def test_groups_have_grids_of_their_own(write_text) -> None:
    rows = [f"{t},{g},{t}" for g in "ABA" for t in (0, 5, 25)]
    data = opened(write_text("a.csv", "time,machine,x", *rows), group="machine")
    assert list(data.groups) == ["A", "B", "A"]
    assert data.lengths.tolist() == [3, 3, 3]
    for record in data.records([0, 1, 2]):
        np.testing.assert_array_equal(record.values, [[2.5, np.nan, 25]])
    assert data.notes == ("9 rows became 9 intervals of 10s (data.every), 3 of them empty",)


def test_a_group_of_one_row_has_the_rate_of_the_grid(write_text) -> None:
    data = opened(write_text("a.csv", "time,g,x", "0,A,1", "9,B,2"), group="g")
    assert [record.rate_hz for record in data.records([0, 1])] == [0.1, 0.1]


def test_blocks_of_a_stream_and_rows_on_disk_make_the_same_intervals(
    write_text, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{3 * i + i % 3},{'AB'[i > 300]},{i},{i % 2}" for i in range(500)]
    path = write_text("a.csv", "time,g,x,label", *rows)
    whole = opened(path, group="g")
    monkeypatch.setattr("seqcl.modalities.sequence.delimited._BLOCK_BYTES", 64)
    monkeypatch.setattr("seqcl.modalities.sequence.table.TableReader.memory_bytes", 1_000)
    parts = opened(path, group="g")
    assert whole.lengths.tolist() == parts.lengths.tolist() == [91, 60]
    for a, b in zip(whole.records([0, 1]), parts.records([0, 1]), strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.times, b.times)
        np.testing.assert_array_equal(a.step_labels, b.step_labels)


def test_a_table_on_the_grid_already_stays_as_it_is(write_text) -> None:
    path = write_text("a.csv", "time,x", *(f"{1_700_000_000 + 10 * i},{i}" for i in range(20)))
    plain = open_dataset([str(path)], DataOptions()).record(0)
    np.testing.assert_array_equal(opened(path).record(0).values, plain.values)
    assert opened(path).record(0).times.tolist() == plain.times.tolist()


def test_data_without_time_stamps_are_refused_with_what_to_do(write_text, tmp_path: Path) -> None:
    assert fault(path := write_text("a.csv", "t,x", "1,2")) == (
        f"{path}: has no time stamps, which data.every=10s needs; name their column with "
        "data.time, or drop data.every. Columns: t, x"
    )
    assert "has no time stamps" in fault(write_text("b.csv", "time,x", "1,2"), time="none")
    assert len(opened(path, time="t")) == 1
    np.savez(tmp_path / "a.npz", X=np.zeros((1, 1, 5)))
    assert fault(tmp_path / "a.npz") == (
        "a.npz: holds no time stamps, which data.every=10s needs; give a table (CSV, TSV, Parquet) "
        "with a column of times, or drop data.every"
    )
    np.savez(tmp_path / "b.npz", X=np.zeros((1, 1, 5)), rate_hz=5)
    assert "b.npz: holds no time stamps (and 5 Hz), which" in fault(tmp_path / "b.npz")


def test_an_interval_so_short_that_the_grid_would_be_empty_is_refused(write_text) -> None:
    rows = [f"2024-01-01 {hour:02}:00:00,1" for hour in range(24)]
    path = write_text("a.csv", "time,x", *rows)
    with pytest.raises(DataError) as caught:
        open_dataset([str(path)], DataOptions(every="10ms"))
    assert str(caught.value) == (
        f"{path}: data.every=10ms makes 8,280,000 intervals of 24 rows, nearly all of them empty; "
        "set data.every to the usual step of the rows (1h) or more, or mend a time stamp that is "
        "far off"
    )


def test_rows_of_intervals_that_do_not_rise_are_told_by_line(write_text) -> None:
    path = write_text("a.csv", "time,x", "2024-01-01 00:00:31,1", "2024-01-01 00:00:29,1")
    assert fault(path).startswith(
        f"{path}:3: time 2024-01-01 00:00:29 in column 'time' comes after 2024-01-01 00:00:31; "
        "sort the rows, write them with their zone (where summer time ended), name"
    )
