from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from seqcl.errors import DataError
from seqcl.modalities.sequence import unpacking
from seqcl.modalities.sequence.delimited import DelimitedFile
from seqcl.modalities.sequence.dialect import decimal_mark, is_header, kind_of, sniff_delimiter
from seqcl.modalities.sequence.tablefile import Roles


def values(file: DelimitedFile, *names: str) -> np.ndarray:
    """Return (C, T) of channels."""
    blocks = list(file.blocks(Roles(channels=names or file.names)))
    return np.concatenate(
        [
            np.stack([np.asarray(column.cast("float64")) for column in block.columns])
            for block in blocks
        ],
        axis=1,
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("pack", [False, True])
def test_every_way_of_writing_a_table_gives_the_same_values(tmp_path, delimiter, end, bom, pack):
    rows = [["flow", "level"], ["1.5", "-2"], ["", "3e2"], ["NA", "nan"], ["4", " 5 "]]
    raw = bom + end.join(delimiter.join(row) for row in rows).encode()
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(raw) if pack else raw)
    file = DelimitedFile(path)
    assert (file.names, file.named, file.delimiter) == (("flow", "level"), True, delimiter)
    np.testing.assert_array_equal(values(file), [[1.5, np.nan, np.nan, 4], [-2, 300, np.nan, 5]])


@pytest.mark.parametrize(
    ("lines", "delimiter"),
    [
        (["a;b", "1,5;2,5", "3,5;4,5"], ";"),
        (["a,b", "1.5,2", "3,4"], ","),
        (["a\tb", "1,5\t2", "3\t4"], "\t"),
        (["value", "1", "2"], ","),
        (["time;a", "2020-01-01 00:00:00;1"], ";"),
        (["a,b,c", "1,2,3", "1,2", "1,2,3"], ","),
        ([], ","),
    ],
)
def test_delimiter_is_what_divides_the_lines_evenly(lines, delimiter):
    assert sniff_delimiter(lines) == delimiter


def test_delimiter_survives_a_field_beyond_all_measure():
    assert sniff_delimiter(["x" * 200_000]) == ","


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (["flow", "level"], True),
        (["flow", ""], True),
        (["", "0", "1", "2"], True),
        (["0", "1", "2"], True),
        (["0", "1"], False),
        (["1.5", "level"], False),
        (["2020-03-09 10:14", "x"], False),
        (["", "NaN"], False),
    ],
)
def test_a_first_row_without_data_is_the_header(row, expected):
    assert is_header(row) is expected


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2.5e-3", ".5", "5.", "inf", "", "NA"], "number"),
        (["", "null"], "number"),
        ([], "number"),
        (["2020-03-09", ""], "time"),
        (["True", "false", ""], "flag"),
        (["open", "closed"], "text"),
        (["1", "open"], "mixed"),
        (["n/a", "-", "N/A"], "mixed"),
        (["1,5"], "text"),
    ],
)
def test_kind_of_a_column(cells, kind):
    assert kind_of(cells, ".") == kind


def test_decimal_commas_are_understood_where_no_point_is_used():
    assert decimal_mark([["1,5", "2"]]) == ","
    assert decimal_mark([["1,5", "2.5"]]) == "."
    assert decimal_mark([["a,b", "2"]]) == "."


def test_decimal_commas_are_read(write_text):
    path = write_text(
        "a.csv", "time;flow;level", "2024-01-01 00:00:00;1,5;-2,25e1", "2024-01-01 00:00:01;;3"
    )
    np.testing.assert_array_equal(
        values(DelimitedFile(path), "flow", "level"), [[1.5, np.nan], [-22.5, 3]]
    )


def test_true_and_false_are_one_and_zero(write_text):
    file = DelimitedFile(write_text("a.csv", "valve", "True", "false", '""', "TRUE"))
    np.testing.assert_array_equal(values(file), [[1, 0, np.nan, 1]])


def test_a_table_without_a_header_has_numbered_channels(write_text):
    file = DelimitedFile(write_text("a.csv", "1,2", "3,4"))
    assert (file.names, file.named) == (("c0", "c1"), False)
    np.testing.assert_array_equal(values(file), [[1, 3], [2, 4]])


def test_a_byte_order_mark_before_a_number_is_no_part_of_it(write_text):
    file = DelimitedFile(write_text("a.csv", b"\xef\xbb\xbf1,2\n3,4\n"))
    np.testing.assert_array_equal(values(file), [[1, 3], [2, 4]])


def test_blank_lines_quotes_and_line_ends_in_quotes_keep_rows_and_places(write_text):
    path = write_text("a.csv", "", '"a","note"', "", '1,"two', 'lines"', "", "2,x", "3,y")
    file = DelimitedFile(path)
    np.testing.assert_array_equal(values(file, "a"), [[1, 2, 3]])
    assert [file.place(row) for row in range(3)] == [f"{path}:5", f"{path}:7", f"{path}:8"]


def test_lines_longer_than_a_block_are_read(write_text):
    cells = np.arange(60_000)
    path = write_text("a.csv", ",".join(f"s{i}" for i in cells), *[",".join(map(str, cells))] * 40)
    file = DelimitedFile(path)
    assert path.stat().st_size > 1 << 23
    np.testing.assert_array_equal(values(file, "s59999"), [[59_999] * 40])


def fault(path: Path, *names: str, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        values(DelimitedFile(path, **options), *names)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_a_ragged_row_is_told_by_its_line(write_text):
    rows = ["1,2"] * 1000
    rows[700] = "1,2,3"
    message = fault(write_text("a.csv", "a,b", *rows))
    assert message == ":702: has 3 fields where the first line has 2 (delimiter ','); mend the row"


def test_a_row_that_stops_short_is_told_by_its_line(write_text):
    assert fault(write_text("a.csv", "a,b", "1,2", "", "3")).startswith(":4: has 1 fields")


def test_mixed_types_are_told_with_the_first_line_and_the_count(write_text):
    rows = [f"{i},{i}" for i in range(1000)]
    for place in (600, 700, 800):
        rows[place] = f"{place},n/a"
    message = fault(write_text("a.csv", "level,flow", *rows))
    assert message == (
        ":602: column 'flow' is 'n/a' in 3 of 1,000 rows; drop it with data.columns, or leave "
        "missing cells empty"
    )


def test_a_flag_that_becomes_something_else_is_told(write_text):
    rows = ["true"] * 1000 + ["maybe"]
    assert fault(write_text("a.csv", "valve", *rows)).startswith(":1002: column 'valve' is 'maybe'")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"temp \xb0C,b\n1,2\n", ":1: byte 0xb0 at 5 is not UTF-8; save the file as UTF-8 text"),
        (b"a,b\n1,2\n1,\xff\n", ":3: byte 0xff at 2 is not UTF-8; save the file as UTF-8 text"),
        (
            "a,b\n1,2\n".encode("utf-16"),
            ":1: byte 0xff at 0 is not UTF-8; save the file as UTF-8 text",
        ),
        (b"", ": is empty"),
        (b"\n\n", ": is empty"),
        (b"a,b,a\n1,2,3\n", ":1: column 'a' is there twice; rename one"),
    ],
)
def test_text_that_is_no_table_is_told_with_its_place(write_text, raw, message):
    assert fault(write_text("a.csv", raw)) == message


def test_invalid_utf8_far_down_is_told_by_its_line(write_text):
    path = write_text("a.csv", "a,b", *["1,2"] * 3000, b"1,\xe9\n", *["1,2"] * 10)
    assert fault(path).startswith(":3002: byte 0xe9 at 2 is not UTF-8")


def test_a_delimiter_of_two_characters_is_refused(write_text):
    assert "data.delimiter is '||'; needed: one character" in fault(
        write_text("a.csv", "a,b", "1,2"), delimiter="||"
    )


def test_a_delimiter_that_is_named_is_used(write_text):
    file = DelimitedFile(write_text("a.csv", "a|b", "1|2"), delimiter="|")
    np.testing.assert_array_equal(values(file), [[1], [2]])


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_gzip_is_told(write_text, part):
    raw = gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)
    path = write_text("a.csv.gz", raw[: int(len(raw) * part)])
    assert fault(path).startswith(": is damaged (")


def test_a_gzip_bomb_is_stopped_while_it_unpacks(write_text, monkeypatch):
    path = write_text("a.csv.gz", gzip.compress(b"a\n" + b"0\n" * 2_000_000))
    assert values(DelimitedFile(path)).shape == (1, 2_000_000)  # small, though it packs well
    monkeypatch.setattr(unpacking, "BOMB_BYTES", 1 << 20)
    assert "give it unpacked if it is meant to" in fault(path)


def test_hundred_megabytes_without_a_line_end_are_not_read_as_one_line(write_text, monkeypatch):
    monkeypatch.setattr(unpacking, "LINE_BYTES", 1 << 10)
    lines = unpacking.read_lines(write_text("a.csv", b"1" * 10_000))
    assert max(len(text) for _, text in lines) == 1 << 10
