from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from seqcl.data.reader import Columns
from seqcl.errors import DataError
from seqcl.modalities.sequence.table import TableReader


def scan(path: Path, **columns: object):
    reader = TableReader(Columns(**columns))
    return reader, list(reader.scan(path))


def stamps(count: int, step: str = "1s") -> list[str]:
    times = np.datetime64("2024-01-01T00:00:00") + np.arange(count) * np.timedelta64(
        int(step[:-1]), step[-1]
    )
    return [str(time).replace("T", " ") for time in times]


def fault(path: Path, **columns: object) -> str:
    with pytest.raises(DataError) as caught:
        scan(path, **columns)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_a_table_is_one_recording_with_times_rate_and_step_labels(write_text):
    rows = [f"{time},{i},{-i},{int(i > 6)}" for i, time in enumerate(stamps(10, "2s"))]
    reader, entries = scan(write_text("a.csv", "timestamp,flow,level,label", *rows))
    (entry,) = entries
    assert (entry.id, entry.length, entry.channels) == ("a.csv", 10, ("flow", "level"))
    assert (entry.rate_hz, entry.label, entry.group, entry.named) == (0.5, 0, None, True)
    record = reader.read(entry, 5, 9)
    np.testing.assert_array_equal(record.values, [[5, 6, 7, 8], [-5, -6, -7, -8]])
    assert record.values.dtype == np.float32
    assert record.step_labels.tolist() == [0, 0, 1, 1]
    assert record.times.tolist() == [(1704067200 + 2 * i) * 10**9 for i in range(5, 9)]
    assert (record.start, record.id, record.rate_hz) == (5, "a.csv", 0.5)


def test_roles_by_option_take_columns_out_of_the_channels(write_text):
    path = write_text("a.csv", "t,unit,state,flow,level", "0,A,ok,1,2", "1,A,ok,3,4", "2,B,bad,5,6")
    reader, entries = scan(path, time="t", group="unit", label="state")
    assert [entry.channels for entry in entries] == [("flow", "level")] * 2
    assert [(entry.id, entry.length, entry.group, entry.label) for entry in entries] == [
        ("a.csv#0", 2, "A", "ok"),
        ("a.csv#1", 1, "B", "bad"),
    ]
    assert [entry.rate_hz for entry in entries] == [1.0, None]
    np.testing.assert_array_equal(reader.read(entries[1], 0, 1).values, [[5], [6]])
    assert reader.read(entries[0], 0, 2).step_labels is None


def test_columns_are_picked_by_name_in_the_order_asked_for(write_text):
    path = write_text("a.csv", "a,b,c,note", "1,2,3,x", "4,5,6,y")
    reader, (entry,) = scan(path, values=("c", "a"))
    assert entry.channels == ("c", "a")
    np.testing.assert_array_equal(reader.read(entry, 0, 2).values, [[3, 6], [1, 4]])


def test_text_columns_and_a_saved_index_are_no_channels(write_text):
    _, (entry,) = scan(write_text("a.csv", ",flow,note", "0,1.5,ok", "1,2.5,ok"))
    assert entry.channels == ("flow",)


def test_a_usual_name_is_no_role_where_it_is_asked_for_as_a_channel(write_text):
    path = write_text("a.csv", "time,label,x", "0,5,1", "1,6,2")
    assert scan(path)[1][0].channels == ("x",)
    assert scan(path, values=("time", "label"))[1][0].channels == ("time", "label")


@pytest.mark.parametrize("name", ["timestamp", "DateTime", "Date", "TIME"])
def test_time_is_found_by_its_usual_names(write_text, name):
    rows = [f"{time},{i}" for i, time in enumerate(stamps(5))]
    assert scan(write_text("a.csv", f"{name},x", *rows))[1][0].rate_hz == 1.0


def test_a_column_called_time_that_holds_none_is_left_out(write_text):
    _, (entry,) = scan(write_text("a.csv", "time,x", "10:14:33,1", "10:14:32,2"))
    assert (entry.channels, entry.rate_hz) == (("x",), None)


def test_time_none_reads_rows_in_the_order_of_the_file(write_text):
    path = write_text("a.csv", "timestamp,x", "2024-01-02,1", "2024-01-01,2")
    reader, (entry,) = scan(path, time="none")
    assert (entry.channels, entry.rate_hz) == (("x",), None)
    assert reader.read(entry, 0, 2).times is None


def test_a_column_of_time_is_no_channel_even_where_time_is_not_used(write_text):
    path = write_text("a.csv", "timestamp,t,x", "1700000000,0,1", "1700000001,1,2")
    assert scan(path, time="none")[1][0].channels == ("t", "x")
    assert scan(path, time="t")[1][0].channels == ("x",)
    assert scan(path, time="none", values=("timestamp",))[1][0].channels == ("timestamp",)


def test_groups_are_runs_and_time_may_start_again_in_each(write_text):
    rows = [f"{t},{g},{t}" for g in "ABA" for t in range(3)]
    _, entries = scan(write_text("a.csv", "time,machine,x", *rows), group="machine")
    assert [(entry.group, entry.length) for entry in entries] == [("A", 3), ("B", 3), ("A", 3)]


def test_empty_groups_are_recordings_without_a_group(write_text):
    _, entries = scan(write_text("a.csv", "g,x", *[",1"] * 3, *["b,1"] * 3), group="g")
    assert [(entry.group, entry.length) for entry in entries] == [(None, 3), ("b", 3)]


def test_groups_mixed_row_by_row_are_refused(write_text):
    rows = [f"{'AB'[i % 2]},{i}" for i in range(100)]
    assert fault(write_text("a.csv", "g,x", *rows), group="g") == (
        ": column 'g' changes 99 times in 100 rows; sort the rows by it, then by time"
    )


def test_windows_get_their_most_frequent_label(write_text):
    labels = "aaabbbbbc,"
    rows = [f"{label.strip(',')},{i}" for i, label in enumerate(labels)]
    reader, (entry,) = scan(write_text("a.csv", "label,x", *rows))
    windows = [(0, 3), (0, 6), (0, 7), (8, 10), (9, 10)]
    assert reader.labels(entry, windows) == ["a", "a", "b", "c", None]
    assert entry.label == "b"


def test_windows_without_a_label_column_get_the_recordings_label(write_text):
    reader, (entry,) = scan(write_text("a.csv", "x", "1", "2"))
    assert reader.labels(entry, [(0, 1), (1, 2)]) == [None, None]


def test_an_empty_label_is_minus_one_in_step_labels(write_text):
    reader, (entry,) = scan(write_text("a.csv", "x,label", "1,0.0", "2,", "3,1.0"))
    assert reader.read(entry, 0, 3).step_labels.tolist() == [0, -1, 1]


def test_gaps_stay_in_the_recording_and_are_noted_once(write_text):
    times = stamps(300)
    del times[200:290], times[100]
    rows = [f"{time},{i}" for i, time in enumerate(times)]
    reader, (entry,) = scan(path := write_text("a.csv", "timestamp,x", *rows))
    assert (entry.length, entry.rate_hz) == (209, 1.0)
    assert reader.notes == [
        "2 gaps in the time stamps (more than 1.5 times the usual step), the longest of 91 s "
        f"before {path}:201; windows run across (data.every=1s makes a regular grid)"
    ]
    assert np.diff(reader.read(entry, 197, 200).times).tolist() == [10**9, 91 * 10**9]


def test_stamps_out_of_order_are_told_by_line(write_text):
    times = stamps(50)
    times[30], times[31] = times[31], times[30]
    rows = [f"{time},{i}" for i, time in enumerate(times)]
    assert fault(write_text("a.csv", "timestamp,x", "", *rows)) == (
        ":34: time 2024-01-01 00:00:30 in column 'timestamp' comes after 2024-01-01 00:00:31; sort "
        "the rows, name the column that tells recordings apart (data.group), or set data.time=none"
    )


def test_a_stamp_that_repeats_is_told_by_line(write_text):
    times = stamps(50)
    times[10] = times[9]
    rows = [f"{time},{i}" for i, time in enumerate(times)]
    assert fault(write_text("a.csv", "timestamp,x", *rows)).startswith(
        ":12: time 2024-01-01 00:00:09 in column 'timestamp' repeats; average them over intervals "
        "(data.every), name the column of sensors in long form (data.sensor), name the column that"
    )


def test_a_stamp_that_is_none_is_told_by_line(write_text):
    rows = [f"{time},{i}" for i, time in enumerate(stamps(1000))]
    rows[900] = "soon,900"
    assert fault(write_text("a.csv", "timestamp,x", *rows)).startswith(
        ":902: time 'soon' in column 'timestamp' is neither an ISO date (2024-05-31 13:45:00) nor"
    )


def test_a_time_asked_for_that_is_no_time_is_told(write_text):
    assert fault(write_text("a.csv", "when,x", "12/31/2024,1"), time="when").startswith(
        ":2: time '12/31/2024' in column 'when' is neither"
    )


@pytest.mark.parametrize("option", ["time", "label", "group", "columns"])
def test_a_column_that_is_not_there_is_told_with_the_nearest(write_text, option):
    asked = {"columns": {"values": ("flw",)}}.get(option, {option: "flw"})
    assert fault(write_text("a.csv", "flow,level", "1,2"), **asked) == (
        f": has no column 'flw', asked for by data.{option}. Did you mean 'flow'? "
        "Known: flow, level"
    )


def test_placeholders_for_numbers_are_told_with_the_count(write_text):
    rows = ["1,n/a"] * 412 + ["2,7"]
    path = write_text("pump7.csv", "level,flow", *rows)
    assert fault(path) == (
        ":2: column 'flow' is 'n/a' in 412 of 413 rows; drop it with data.columns, or leave "
        "missing cells empty"
    )
    assert scan(path, values=("level",))[1][0].channels == ("level",)


def test_a_text_column_asked_for_as_a_channel_is_told(write_text):
    path = write_text("a.csv", "x,state", "1,ok", "2,ok", "3,bad")
    assert fault(path, values=("state",)).startswith(":2: column 'state' is 'ok' in 2 of 3 rows")


def test_a_table_without_numbers_lists_its_columns(write_text):
    assert fault(write_text("a.csv", "when,state", "2024-01-01,ok")) == (
        ": has no numeric column to be a channel; found: when (time), state (text)"
    )


def test_a_header_without_rows_is_told(write_text):
    assert fault(write_text("a.csv", "x,y")) == ": has no rows below its header"


@pytest.mark.parametrize("cell", ["inf", "1e300"])
def test_a_value_beyond_float32_is_told_by_line(write_text, cell):
    assert fault(write_text("a.csv", "x", "1", "2", cell)).startswith(":4: ")


def test_an_all_missing_and_a_constant_column_are_channels(write_text):
    reader, (entry,) = scan(write_text("a.csv", "x,y,z", "1,,7", "2,,7"))
    assert entry.channels == ("x", "y", "z")
    assert np.isnan(reader.read(entry, 0, 2).values[1]).all()


def test_rows_above_the_memory_limit_are_read_from_disk_and_equal(write_text):
    rows = [f"{time},{i},{i % 7},{i % 2}" for i, time in enumerate(stamps(5000))]
    path = write_text("a.csv.gz", gzip.compress("\n".join(["time,x,y,label", *rows]).encode()))

    class Small(TableReader):
        memory_bytes = 1000

    large, small = TableReader(), Small()
    (entry,), (same,) = large.scan(path), small.scan(path)
    assert entry == same
    assert (large.lazy, small.lazy) == (False, True)
    for start, stop in [(0, 10), (1234, 1300), (0, 5000), (4999, 5000)]:
        a, b = large.read(entry, start, stop), small.read(entry, start, stop)
        for name in ("values", "times", "step_labels"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert large.labels(entry, [(0, 3), (1, 4)]) == small.labels(entry, [(0, 3), (1, 4)]) == [0, 1]


def test_a_file_is_parsed_once_however_often_it_is_read(write_text):
    path = write_text("a.csv", "x", *map(str, range(100)))
    reader, (entry,) = scan(path)
    path.unlink()
    assert reader.read(entry, 40, 42).values.tolist() == [[40, 41]]


def test_reader_pickles_without_its_rows_and_reads_again(write_text):
    reader, (entry,) = scan(write_text("a.csv", "x,y", *["1,2"] * 10_000), values=("y",))
    blob = pickle.dumps(reader)
    assert len(blob) < 1000
    assert pickle.loads(blob).read(entry, 5, 7).values.tolist() == [[2, 2]]


def test_a_group_may_change_between_blocks_of_the_stream(write_text, monkeypatch):
    monkeypatch.setattr("seqcl.modalities.sequence.delimited._BLOCK_BYTES", 64)
    rows = [f"{'AB'[i >= 37]},{i}" for i in range(80)]
    reader, entries = scan(write_text("a.csv", "g,x", *rows), group="g")
    assert [(entry.group, entry.length) for entry in entries] == [("A", 37), ("B", 43)]
    assert reader.read(entries[1], 0, 2).values.tolist() == [[37, 38]]


def test_semicolons_decimal_commas_and_dates_with_dots_are_understood(write_text):
    rows = [f"{day:02}.03.2024 10:00:00;{day},5;20" for day in range(1, 15)]
    path = write_text("a.csv", "Datum;Druck;Temp", *rows)
    reader, (entry,) = scan(path, time="Datum")
    record = reader.read(entry, 0, 2)
    assert record.values.tolist() == [[1.5, 2.5], [20, 20]]
    assert str(record.times.astype("datetime64[ns]")[0])[:19] == "2024-03-01T10:00:00"
    assert entry.rate_hz == 1 / 86_400
    assert scan(path)[0].notes == [f"{path}: column 'Datum' holds times; data.time=Datum uses them"]


def test_a_column_of_times_in_an_unknown_form_is_noted(write_text):
    path = write_text("a.csv", "timestamp,x", "03/01/2024 10:00,1", "03/01/2024 10:01,2")
    reader, (entry,) = scan(path)
    assert entry.rate_hz is None
    assert reader.notes == [
        f"{path}: column 'timestamp' is neither ISO dates (2024-05-31 13:45:00) nor unix time; "
        "rows are read without times"
    ]


def test_mixed_zones_are_one_time_and_a_missing_zone_is_told(write_text):
    stamps = ["2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"]
    reader, (entry,) = scan(write_text("a.csv", "time,x", *(f"{one},1" for one in stamps)))
    assert np.diff(reader.read(entry, 0, 2).times).tolist() == [3_600 * 10**9]
    for other in (["2024-03-31T03:30:00"], ["2024-03-31T02:30:00Z"]):
        first = stamps[0] if other[0][-1] == "0" else stamps[0][:19]
        path = write_text("b.csv", "time,x", f"{first},1", f"{other[0]},2")
        assert fault(path).startswith(
            f":3: time {other[0]!r} in column 'time' is written otherwise than those before it, "
            "with a zone or without one; write all of them alike, or read"
        )
