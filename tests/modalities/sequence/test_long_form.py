"""Tables in long form: a row holds one value of one sensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqcl.data.dataset import open_dataset
from seqcl.data.options import DataOptions
from seqcl.errors import DataError

HEAD = "time;tag;value;unit"
ROWS = (
    "2024-01-01 00:00:00;flow;1,5;l", "2024-01-01 00:00:00;heat;20,5;C",
    "2024-01-01 00:00:07;flow;2,5;l", "2024-01-01 00:00:21;heat;21,5;C",
    "2024-01-01 00:00:22;flow;;l", "2024-01-01 00:00:23;;;l",
)  # fmt: skip


def opened(path: Path, **options: object):
    return open_dataset([str(path)], DataOptions(sensor="tag", **options))


def fault(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        opened(path, **options)
    return str(caught.value)


def test_rows_of_one_time_become_one_row_with_a_channel_for_each_sensor(write_text) -> None:
    data = opened(write_text("a.csv", HEAD, *ROWS))
    assert data.channels == ("flow", "heat")
    nan = np.nan
    np.testing.assert_array_equal(
        data.record(0).values, [[1.5, 2.5, nan, nan, nan], [20.5, nan, 21.5, nan, nan]]
    )
    assert np.diff(data.record(0).times).tolist() == [7 * 10**9, 14 * 10**9, 10**9, 10**9]
    gaps, became = data.notes
    assert became == "6 values in long form became 5 rows"
    assert "the longest of 14 s in " in gaps  # a line of the file would be another row


def test_long_form_comes_on_a_regular_grid(write_text) -> None:
    data = opened(write_text("a.csv", HEAD, *ROWS), every="10s", columns=("heat", "flow"))
    assert data.channels == ("heat", "flow")
    nan = np.nan
    np.testing.assert_array_equal(data.record(0).values, [[20.5, nan, 21.5], [2.0, nan, nan]])
    assert data.rate_hz == 0.1


def test_long_form_in_small_pieces_is_the_same(write_text, monkeypatch) -> None:
    rows = [f"{i // 3},{'abc'[i % 3]},{i},m{i // 60}" for i in range(120)]
    path = write_text("a.csv", "time,tag,value,machine", *rows)
    whole = opened(path, group="machine")
    monkeypatch.setattr("seqcl.modalities.sequence.ingest._PIECE_VALUES", 21)
    parts = opened(path, group="machine")
    assert list(whole.groups) == list(parts.groups) == ["m0", "m1"]
    for a, b in zip(whole.records([0, 1]), parts.records([0, 1]), strict=True):
        np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(whole.record(1).values[:, 0], [60, 61, 62])


def test_faults_of_long_form_say_what_to_do(write_text) -> None:
    path = write_text("a.csv", "time,tag,x,y", "0,a,1,2", "1,b,1,2")
    assert fault(path) == (
        f"{path}: beside data.sensor=tag one column holds values, and x, y hold numbers; name it "
        "with data.value"
    )
    assert opened(path, value="y").record(0).values[1, 1] == 2
    assert "has no column 'z', asked for by data.value. Known" in fault(path, value="z")
    assert "no sensor 'c', asked for by data.columns. Known: a, b" in fault(
        path, value="y", columns=("c",)
    )
    assert "(data.sensor=tag) needs time stamps" in fault(write_text("b.csv", "tag,x", "a,1"))
    assert fault(write_text("d.csv", "time,tag,x", "0,a,1", "1,,2")).endswith(
        "d.csv:3: has a value and no name in column 'tag' (data.sensor); name its sensor, or drop "
        "the row"
    )
    many = write_text("c.csv", "time,tag,x", *(f"{i},s{i},1" for i in range(1_001)))
    assert "has more than 1,000 different names; is it that of sensors?" in fault(many)
    with pytest.raises(ValueError, match=r"value=x belongs to long form; set data\.sensor too"):
        DataOptions(value="x")
