"""Tables: which metrics, what a cell says, footnotes, and Markdown that names cannot break."""

from __future__ import annotations

import pytest

from seqcl.evaluation.base import Report, Row
from seqcl.evaluation.table import markdown, table_of


def report(task: str = "linear", accuracy: float = 0.9, **details: object) -> Report:
    return Report(
        task,
        {"accuracy": accuracy, "macro_f1": accuracy - 0.1, "balanced_accuracy": 0.5},
        {"accuracy": (accuracy - 0.05, accuracy + 0.05), "macro_f1": (0.1, 0.9)},
        details,
        ("accuracy", "macro_f1"),
    )


def test_one_task_shows_all_metrics_and_the_interval_of_the_first() -> None:
    table = table_of([Row("seqcl", report()), Row("untrained", report(accuracy=0.8))])
    assert table.header == ("system", "accuracy", "macro F1", "balanced accuracy")
    assert table.rows == (
        ("seqcl", "0.900 [0.850, 0.950]", "0.800", "0.500"),
        ("untrained", "0.800 [0.750, 0.850]", "0.700", "0.500"),
    )
    assert table.notes == ("[ ]: 95 % bootstrap interval over the test records",)


def test_several_tasks_show_their_headlines_side_by_side() -> None:
    found = Report("retrieval", {"p_at_1": 0.7, "map": 0.6, "map_at_10": 0.5})
    table = table_of([Row("seqcl", report()), Row("seqcl", found)])
    assert table.header == ("system", "linear accuracy", "linear macro F1", "retrieval P@1")
    assert table.rows == (("seqcl", "0.900 [0.850, 0.950]", "0.800", "0.700"),)


def test_several_seeds_are_a_mean_and_a_standard_deviation() -> None:
    rows = [Row("seqcl", report(accuracy=a), seed=s) for s, a in enumerate((0.7, 0.8, 0.9))]
    table = table_of([*rows, Row("raw", report(accuracy=0.5))])
    assert table.rows[0][1:3] == ("0.800 ± 0.100", "0.700 ± 0.100")
    assert table.rows[1][1] == "0.500 [0.450, 0.550]"
    assert "±: standard deviation over 3 seeds" in table.notes


def test_draws_of_labels_show_their_spread() -> None:
    table = table_of([Row("seqcl", report(spread={"accuracy": 0.02}))])
    assert table.rows[0][1] == "0.900 ± 0.020"
    assert table.notes == ("±: standard deviation over draws of labels",)


def test_a_row_that_does_not_apply_has_a_dash_and_a_footnote() -> None:
    rows = [
        Row("seqcl", report()),
        Row("minirocket", None, "records differ in length", "linear"),
        Row("raw", None, "records differ in length", "linear"),
        Row("other", None, "too slow", "linear"),
    ]
    table = table_of(rows)
    assert [line[1] for line in table.rows[1:]] == ["– (1)", "– (1)", "– (2)"]
    assert table.notes[:2] == ("(1) records differ in length", "(2) too slow")


def test_what_a_system_was_not_asked_for_is_a_plain_dash() -> None:
    knn = Report("knn", {"accuracy": 0.6})
    table = table_of([Row("seqcl", report()), Row("seqcl", knn), Row("raw", knn)])
    assert table.rows[1] == ("raw", "–", "–", "0.600")


def test_a_task_that_applies_to_nothing_still_has_its_column() -> None:
    table = table_of([Row("raw", None, "why", "knn")])
    assert table.header == ("system", "result")
    assert table.rows == (("raw", "– (1)"),)


def test_no_rows_are_an_empty_table() -> None:
    assert table_of([]).rows == ()


def test_notes_of_the_reports_are_told_once() -> None:
    rows = [
        Row("a", report(notes=["3 of 9 left out"])),
        Row("b", report(notes=["3 of 9 left out"])),
    ]
    assert table_of(rows).notes[0] == "linear: 3 of 9 left out"
    assert len(table_of(rows).notes) == 2


@pytest.mark.parametrize("name", ["a|b", "a\nb", "a<script>"])
def test_names_cannot_break_the_markdown(name: str) -> None:
    text = markdown(table_of([Row(name, Report("knn", {"accuracy": 0.5}))]))
    lines = text.splitlines()
    assert lines[0] == "| system | accuracy |"
    assert lines[1] == "| --- | ---: |"
    assert lines[2].replace("\\|", "").count("|") == 3
    assert "<script" not in text
    assert len(lines) == 3


def test_notes_follow_the_markdown_table() -> None:
    text = markdown(table_of([Row("raw", None, "why", "knn")]))
    assert text.endswith("| raw | – (1) |\n\n(1) why\n")
