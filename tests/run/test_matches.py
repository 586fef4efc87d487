"""Matches as rows: what a program reads is exact, what a person reads is short."""

from __future__ import annotations

import csv
import io

from seqcl.retrieval.matches import Identification, Match, Place, SearchResult
from seqcl.run.matches import CSV_HEADER, csv_rows, identified_row, table_rows


def place(start: float | None, rate_hz: float | None) -> Place:
    start_s = None if rate_hz is None or start is None else start / rate_hz
    return Place("/a.wav", "a.wav", start, start_s, rate_hz and 3.0, None, None, 0)


def result(found: Place) -> SearchResult:
    return SearchResult("q.wav", 5, (Match(1, found, 0.912345, 0.4321, None, 7),))


def test_csv_has_whole_steps_and_exact_seconds() -> None:
    text = io.StringIO()
    rows = csv_rows([result(place(19_762_001.0, 16_000.0)), result(place(1e15 + 1, None))])
    csv.writer(text).writerows([CSV_HEADER, *rows])
    first, second = csv.DictReader(io.StringIO(text.getvalue()))
    assert (first["start"], first["start_s"], first["length_s"]) == (
        "19762001", "1235.1250625", "3.0",
    )  # fmt: skip
    assert (first["score"], first["probability"], first["margin"]) == ("0.912345", "0.4321", "")
    assert (second["start"], second["start_s"]) == ("1000000000000001", "")


def test_tables_have_whole_steps_where_the_rate_is_not_known() -> None:
    (row,) = table_rows(result(place(19_762_001.0, None)))
    assert row[2] == "19762001"
    (row,) = table_rows(result(place(19_762_001.0, 16_000.0)))
    assert row[2] == "1235.13 s"


def test_a_place_that_is_not_known_is_a_dash() -> None:
    found = Identification("q.wav", None, None, place(None, 16_000.0), 0.9, 0.1)
    assert identified_row(found)[2] == "–"
