from __future__ import annotations

import pickle
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from seqcl.data.reader import Columns
from seqcl.errors import DataError
from seqcl.modalities.sequence.ts import TsReader, UcrReader

AEON = Path(str(files("aeon"))) / "datasets" / "data"
HEAD = ["@problemName demo", "@timeStamps false", "@missing false", "@univariate true"]


def read_all(reader, path):
    entries = list(reader.scan(path))
    return entries, [reader.read(entry, 0, entry.length).values for entry in entries]


def fault(reader, path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(reader.scan(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_ts_of_equal_length(write_text):
    head = ["# a comment", *HEAD, "@equalLength true", "@classLabel true 1 2"]
    path = write_text("a.ts", *head, "@data", "1,2,3:1", "4,?,6:2")
    entries, values = read_all(TsReader(), path)
    assert [(entry.id, entry.length, entry.label) for entry in entries] == [
        ("a.ts#0", 3, 1),
        ("a.ts#1", 3, 2),
    ]
    np.testing.assert_array_equal(values, [[[1, 2, 3]], [[4, np.nan, 6]]])


def test_ts_of_unequal_length_and_several_channels(write_text):
    head = ["@univariate false", "@equalLength false", "@classLabel true up banana"]
    path = write_text("a.ts", *head, "@data", "1,2:3,4:up", "1,2,3:4,5,NaN:banana")
    entries, values = read_all(TsReader(), path)
    assert [(entry.length, entry.label) for entry in entries] == [(2, "up"), (3, "banana")]
    assert entries[0].channels == ("c0", "c1")
    assert not entries[0].named
    np.testing.assert_array_equal(values[1], [[1, 2, 3], [4, 5, np.nan]])


def test_ts_of_a_regression_has_float_targets(write_text):
    path = write_text(
        "a.ts", "@equalLength true", "@targetLabel true", "@data", "1,2:3.0", "3,4:0.5"
    )
    assert [entry.label for entry in TsReader().scan(path)] == [3.0, 0.5]


def test_ts_without_labels(write_text):
    path = write_text("a.ts", "@equalLength true", "@classLabel false", "@data", "1,2", "3,4")
    entries, values = read_all(TsReader(), path)
    assert [entry.label for entry in entries] == [None, None]
    np.testing.assert_array_equal(values, [[[1, 2]], [[3, 4]]])


EQUAL = [*HEAD, "@equalLength true", "@classLabel true 1", "@data"]  # 7 lines


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2,3"], ": holds no series below @data"),
        (["@equalLength perhaps maybe"], ": has no @data line; is it a .ts file?"),
        ([*EQUAL, "1,2:1", "1,two:1"], ":9: 'two' is no number; write NaN where missing"),
        ([*EQUAL, "1,2:1", ""], ":9: is blank below @data; drop the line"),
        ([*EQUAL, "1,2:1", "1,2,3:1"], "case 2 has a different"),
        ([*HEAD, "@equalLength perhaps maybe", "@data"], "requires a boolean value"),
        (EQUAL, ": holds no series below @data"),
        (["@timeStamps true", "@classLabel true 1", "@data", "(0,1.5):1"], ": has time stamps"),
        ([*HEAD, "@data", b"\xff\xfe:1\n"], ":6: byte 0xff at 0 is not UTF-8"),
    ],
)
def test_a_broken_ts_is_told_in_one_line(write_text, lines, message):
    assert message in fault(TsReader(), write_text("a.ts", *lines))


@pytest.mark.parametrize("name", ["ArrowHead", "GunPoint"])
def test_ucr_and_ts_files_of_one_set_are_equal(name):
    entries, values = read_all(UcrReader(), AEON / name / f"{name}_TRAIN.tsv")
    same, expected = read_all(TsReader(), AEON / name / f"{name}_TRAIN.ts")
    assert [entry.label for entry in entries] == [entry.label for entry in same]
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["a.tsv", "a.txt"])
@pytest.mark.parametrize("delimiter", ["\t", ",", "  "])
def test_ucr_lines_are_a_class_and_its_values(write_text, name, delimiter):
    rows = [
        ["1", "0.5", "-2e0", "3"],
        ["-1", "1", "NaN", "2"],
        ["1.0000000e+00", "7", "NaN", "NaN"],
    ]
    entries, values = read_all(
        UcrReader(), write_text(name, *(delimiter.join(row) for row in rows))
    )
    assert [(entry.label, entry.length) for entry in entries] == [(1, 3), (-1, 3), (1, 1)]
    np.testing.assert_array_equal(values[1], [[1, np.nan, 2]])
    assert not entries[0].named


def test_ucr_lines_may_differ_in_length(write_text):
    entries, _ = read_all(UcrReader(), write_text("a.tsv", "1\t2\t3\t4", "", "2\t5\t"))
    assert [entry.length for entry in entries] == [3, 1]


def test_a_tsv_with_a_header_is_a_table(write_text):
    path = write_text("a.tsv", "flow\tlabel", "1.5\t0", "2.5\t1")
    reader = UcrReader(Columns(values=("flow",)))
    (entry,) = reader.scan(path)
    assert (entry.channels, entry.named) == (("flow",), True)
    for one in (reader, pickle.loads(pickle.dumps(reader))):
        assert one.read(entry, 0, 2).values.tolist() == [[1.5, 2.5]]
        assert one.labels(entry, [(0, 1), (1, 2)]) == [0, 1]


def test_a_txt_of_times_without_a_header_is_a_table(write_text):
    path = write_text("a.txt", "2024-01-01 00:00:00;1.5", "2024-01-01 00:00:01;2.5")
    entries, values = read_all(UcrReader(Columns(time="c0")), path)
    assert values[0].tolist() == [[1.5, 2.5]]
    assert (entries[0].rate_hz, entries[0].named) == (1.0, False)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1\t2\t3", "1\tx\t3"], ":2: 'x' is no number; write NaN where missing"),
        (["1\t2", "", "1"], ":3: has a class and no values; drop the line"),
        ([b""], ": is empty"),
        (["1\t2", b"\xe9\t2\n"], ":2: byte 0xe9 at 0 is not UTF-8; save the file as UTF-8 text"),
    ],
)
def test_a_broken_ucr_file_is_told_by_its_line(write_text, lines, message):
    assert fault(UcrReader(), write_text("a.tsv", *lines)) == message
