from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from seqcl.modalities.sequence.timestamps import Clock, DisorderError, is_time, timing

SECOND = 10**9
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND


def nanoseconds(*texts: str) -> list[int]:
    return np.array(texts, dtype="datetime64[ns]").astype(np.int64).tolist()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2020-03-09 10:14:33", "2020-03-09 10:14:34"], None),
        (["2020-03-09T10:14:33.250", "2020-03-09T10:14:34.000001"], None),
        (["2020-03-09 10:14", "2020-03-09 10:15"], None),
        (["2020-03-09", "2020-03-10"], None),
        ([" 2020-03-09 ", "2020-03-10 "], ["2020-03-09", "2020-03-10"]),
        (
            ["2020-03-09T10:14:33Z", "2020-03-09T10:14:34Z"],
            ["2020-03-09T10:14:33", "2020-03-09T10:14:34"],
        ),
        (["2020-03-09 10:14:33+01:00"], ["2020-03-09T09:14:33"]),
        (["1583748873", "1583748874"], ["2020-03-09T10:14:33", "2020-03-09T10:14:34"]),
        (["1583748873.5"], ["2020-03-09T10:14:33.5"]),
        (["1583748873", "1583748873.5"], ["2020-03-09T10:14:33", "2020-03-09T10:14:33.5"]),
        (["1583748873.5", "1583748874"], ["2020-03-09T10:14:33.5", "2020-03-09T10:14:34"]),
        (["1583748873500"], ["2020-03-09T10:14:33.5"]),
        (["1583748873500000"], ["2020-03-09T10:14:33.5"]),
        (["1583748873500000001"], ["2020-03-09T10:14:33.500000001"]),
        (
            ["0.0", "0.02", "1e0"],
            ["1970-01-01T00:00:00", "1970-01-01T00:00:00.02", "1970-01-01T00:00:01"],
        ),
        (["-1.25"], ["1969-12-31T23:59:58.75"]),
    ],
)
def test_text_becomes_nanoseconds(cells, expected):
    times = Clock().read(pa.array(cells))
    assert times.dtype == np.int64
    assert times.tolist() == nanoseconds(*(expected or cells))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1583748873, 1583748874]),
        pa.array([1583748873.0, 1583748874.0]),
        pa.array([dt.datetime(2020, 3, 9, 10, 14, 33), dt.datetime(2020, 3, 9, 10, 14, 34)]),
        pa.array([1583748873, 1583748874]).cast(pa.timestamp("s", "UTC")),
        pa.array([1583748873000, 1583748874000]).cast(pa.timestamp("ms")),
    ],
    ids=lambda column: str(column.type),
)
def test_typed_columns_become_nanoseconds(column):
    assert Clock().read(column).tolist() == nanoseconds(
        "2020-03-09T10:14:33", "2020-03-09T10:14:34"
    )


def test_the_first_block_decides_the_unit_of_those_after_it():
    clock = Clock()
    clock.read(pa.array(["8999999999"]))
    assert clock.read(pa.array(["9000000001"])).tolist() == [9000000001 * SECOND]


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        (["2020-03-09", "yesterday", "2020-03-11"], 1),
        (["2020-03-09", None], 1),
        (["03/09/2020"], 0),
        (["1", "2", "x"], 2),
        (["1.5", "nan"], 1),
        (["2020-03-09T10:14:33Z", "2020-03-09T10:14:33"], 1),
    ],
)
def test_a_cell_that_is_no_time_is_told_by_its_row(cells, fault):
    with pytest.raises(ValueError, match=f"^{fault}$"):
        Clock().read(pa.array(cells))


@pytest.mark.parametrize(
    ("cell", "local"),
    [
        ("2020-03-09 10:14", True),
        ("2020-03-09T10:14Z", False),
        ("2020-03-09 10:14+02:00", False),
        ("12.5", False),
    ],
)
def test_stamps_without_a_zone_are_local(cell, local):
    clock = Clock()
    clock.read(pa.array([cell]))
    assert clock.local is local


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-03-09", True),
        ("2020-03-09T10:14:33.123Z", True),
        ("2020-03-09 10:14+01:00", True),
        ("2020", False),
        ("10:14:33", False),
        ("09.03.2020", True),
        ("09.03.2020 10:14:33.5", True),
        ("9.3.2020", False),
        ("192.168.2020", False),
    ],
)
def test_is_time_takes_iso_dates_and_those_with_dots(text, expected):
    assert is_time(text) is expected


def measured(steps, local=False, block=1 << 18):
    times = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
    return timing((times[i : i + block] for i in range(0, len(times), block)), local)


@pytest.mark.parametrize("block", [1, 2, 3, 1000])
def test_rate_gaps_and_the_longest_gap_do_not_depend_on_the_blocks(block):
    steps = np.full(100, SECOND)
    steps[40], steps[70] = 2 * SECOND, 300 * SECOND
    found = measured(steps, block=block)
    assert found.rate_hz == 1.0
    assert (found.gaps, found.longest_s, found.longest_row) == (2, 300.0, 71)


def test_rate_of_stamps_rounded_to_milliseconds_is_that_of_their_mean():
    steps = np.diff(np.floor(np.arange(1000) * 15.625) * 1_000_000)
    assert measured(steps).rate_hz == pytest.approx(64.0, rel=1e-3)  # 62.5 by the median


def test_fewer_than_two_stamps_have_no_timing():
    assert timing([], False) is None
    assert timing([np.array([5])], False) is None


@pytest.mark.parametrize("block", [1, 3, 1000])
@pytest.mark.parametrize("step", [0, -1, -MINUTE])
@pytest.mark.parametrize("local", [False, True])
def test_a_stamp_that_does_not_rise_is_told_by_its_row(step, block, local):
    steps = np.full(20, 10 * SECOND)
    steps[13] = step
    with pytest.raises(DisorderError) as caught:
        measured(steps, local, block)
    assert (caught.value.row, caught.value.after - caught.value.before) == (14, step)


def test_two_rows_that_were_swapped_are_disorder_at_any_usual_rate():
    for step in (SECOND, MINUTE, 5 * MINUTE, HOUR):
        steps = np.full(20, step)
        steps[9:12] = 2 * step, -step, 2 * step
        with pytest.raises(DisorderError):
            measured(steps, local=True)


@pytest.mark.parametrize("step", [MINUTE, 5 * MINUTE, HOUR])
@pytest.mark.parametrize("block", [1, 1000])
def test_a_clock_put_back_by_an_hour_is_no_disorder_in_local_time_only(step, block):
    steps = np.full(40, step)
    steps[20] = step - HOUR
    assert measured(steps, True, block).gaps == 0
    with pytest.raises(DisorderError):
        measured(steps, False, block)


@pytest.mark.parametrize("block", [1, 1000])
def test_stamps_of_the_skipped_hour_may_all_be_the_hour_after_it(block):
    steps = np.full(60, 5 * MINUTE)
    steps[20], steps[21:32] = HOUR + 4 * MINUTE, 0
    assert measured(steps, True, block).gaps == 1
    steps[40] = 0  # but not elsewhere
    with pytest.raises(DisorderError) as caught:
        measured(steps, True, block)
    assert caught.value.row == 41


def test_steps_of_two_sorts_without_one_in_the_middle_have_the_rate_of_their_median():
    stamps = np.cumsum([0, 7, 14, 1, 1]) * 10**9
    assert timing([stamps], local=False).rate_hz == 1 / 4


def test_whole_and_broken_seconds_may_come_in_blocks_of_their_own() -> None:
    clock = Clock()
    blocks = [clock.read(pa.array([cell])) for cell in ("1583748873", "1583748873.5", "1583748874")]
    assert np.diff(np.concatenate(blocks)).tolist() == [SECOND // 2] * 2
