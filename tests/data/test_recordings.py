from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from seqcl.batch import Entry, sorted_labels
from seqcl.data.recordings import RecordingsBuilder

ENTRIES = [
    Entry(Path("a.csv"), "a.csv", 10, ("x", "y"), 50.0, "walk", "anna", None, True),
    Entry(Path("b.ts"), "b.ts#0", 7, ("c0", "c1"), None, None, None, 0, False),
    Entry(Path("b.ts"), "b.ts#1", 8, ("c0", "c1"), None, "run", "anna", "k", False),
    Entry(Path("c.ts"), "c.ts", 9, ("x", "y"), 25.0, ("a", "b"), "bert", None, True),
]


def build(entries: list[Entry]) -> RecordingsBuilder:
    builder = RecordingsBuilder()
    for entry in entries:
        builder.add(entry)
    return builder


def test_entries_come_back_as_they_went_in() -> None:
    recordings = build(ENTRIES).build()
    assert [recordings.entry(row) for row in range(4)] == ENTRIES


def test_classes_and_groups_are_sorted_whatever_the_order_of_the_files() -> None:
    for entries in (ENTRIES, ENTRIES[::-1]):
        recordings = build(entries).build()
        assert recordings.classes == ("run", "walk", ("a", "b"))
        assert recordings.group_names == ("anna", "bert")
        assert [recordings.entry(row) for row in range(4)] == entries


def test_taking_rows_keeps_the_codes() -> None:
    recordings = build(ENTRIES).build()
    part = recordings.take(np.array([3, 1]))
    assert [part.entry(row) for row in range(2)] == [ENTRIES[3], ENTRIES[1]]
    assert part.classes == recordings.classes


def test_labels_sort_numbers_by_value_before_text_before_tags() -> None:
    assert sorted_labels([10, "b", 2, ("z",), 1.5, "a", 2]) == (1.5, 2, 10, "a", "b", ("z",))


def test_a_recording_in_memory_has_no_reader() -> None:
    with pytest.raises(ValueError, match="has no reader"):
        build(ENTRIES).build().reader(0)


def test_a_recording_costs_a_hundred_bytes_not_an_object() -> None:
    def entries(count: int) -> RecordingsBuilder:
        builder = RecordingsBuilder()
        for row in range(count):
            builder.add(Entry(Path("a.h5"), f"a.h5#{row}", 9, ("x",), 50.0, row % 3, None, row))
        return builder

    tracemalloc.start()
    builder = entries(20_000)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(builder) == 20_000
    assert held < 110 * 20_000  # an Entry alone takes over 500
