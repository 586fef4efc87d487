import re

import numpy as np
import pytest

from seqcl.report import Chart, Comparison, Confusion, Estimate, Line, Row, Table
from seqcl.report.confusion import confusion_html
from seqcl.report.markup import number
from seqcl.report.tables import chart_table, comparison_html, table_html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (np.int64(1234), "1,234"),
        (0.0, "0.000"),
        (-0.0, "0.000"),
        (0.8649, "0.865"),
        (-0.25, "-0.250"),
        (184.23, "184.2"),
        (45678.9, "45,678.9"),
        (3.2e-05, "3.2e-05"),
        (2.5e9, "2.5e+09"),
        (float("nan"), "–"),
    ],
)
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert number(value) == text


def test_bars_of_a_column_share_one_axis() -> None:
    rows = (
        Row(name="a", cells=(Estimate(0.5, 0.0, 1.0),)),
        Row(name="b", cells=(Estimate(0.25, 0.25, 0.5),), control=True),
    )
    html = table_html(Table(title="t", header=("system", "accuracy"), rows=rows))
    assert re.findall(r'<line x1="([\d.]+%)" x2="([\d.]+%)"', html) == [
        ("5.0%", "95.0%"),
        ("27.5%", "50.0%"),
    ]
    assert html.count('<tr class="control">') == 1


def test_an_interval_that_is_not_finite_gets_no_bar() -> None:
    rows = (Row(name="a", cells=(Estimate(0.5, float("nan"), 1.0),)),)
    html = table_html(Table(title="t", header=("system", "accuracy"), rows=rows))
    assert "0.500" in html
    assert "<svg" not in html


def test_a_row_of_the_wrong_length_is_a_programmers_fault() -> None:
    with pytest.raises(ValueError, match="table 't': row 'a' has 1 cells; the header needs 2"):
        Table(title="t", header=("system", "x", "y"), rows=(Row(name="a", cells=(1,)),))


def test_the_difference_is_drawn_against_zero_in_the_middle() -> None:
    html = comparison_html(Comparison(sentence="s", difference=Estimate(0.4, 0.2, 0.8)))
    assert '<line class="zero" x1="50%"' in html
    assert '<line x1="59.0%" x2="86.0%"' in html
    assert "0.200 to 0.800" in html


def test_a_chart_is_readable_as_a_table() -> None:
    lines = (
        Line(name="a", x=[1, 5], y=[0.1, 0.2]),
        Line(name="b", x=[5, 10], y=[0.3, 0.4], low=[0.2, 0.3], high=[0.4, 0.5]),
    )
    table = chart_table(Chart(title="t", x_label="labels", lines=lines))
    assert table.header == ("labels", "1", "5", "10")
    assert table.rows[0].cells == (0.1, 0.2, None)
    assert table.rows[1].cells == (None, Estimate(0.3, 0.2, 0.4), Estimate(0.4, 0.3, 0.5))


def test_colour_follows_the_share_of_the_true_class() -> None:
    counts = np.array([[30, 10], [0, 5]])
    html = confusion_html(Confusion(classes=("a", "b"), counts=counts))
    assert '<td class="hit" style="--share:0.75">30</td>' in html
    assert '<td class="miss" style="--share:0.25">10</td>' in html
    assert '<td class="none">0</td>' in html
    assert re.findall(r'class="recall">(\d+)<', html) == ["75", "100"]


def test_a_class_without_records_has_no_recall() -> None:
    html = confusion_html(Confusion(classes=("a", "b"), counts=np.array([[0, 0], [0, 5]])))
    assert '<td class="recall">–</td>' in html


@pytest.mark.parametrize(("size", "dense"), [(2, False), (12, False), (13, True), (40, True)])
def test_many_classes_are_drawn_densely(size: int, dense: bool) -> None:
    classes = tuple(f"class {k}" for k in range(size))
    html = confusion_html(Confusion(classes=classes, counts=np.eye(size, dtype=np.int64)))
    assert ('class="confusion dense"' in html) is dense
    assert len(re.findall(r'<td class="(?:hit|none)', html)) == size**2


def test_beyond_sixty_classes_the_frequent_confusions_are_listed() -> None:
    counts = np.diag(np.full(61, 50))
    counts[3, 7], counts[8, 2] = 12, 40
    html = confusion_html(Confusion(classes=tuple(f"c{k}" for k in range(61)), counts=counts))
    assert "The 2 most frequent confusions of 61 classes" in html
    assert html.index("c8") < html.index("c3")
    assert "<td>40</td><td>90</td>" in html


def test_counts_of_another_size_are_refused() -> None:
    message = r"counts are \(2, 3\) for 2 classes; needed is \(2, 2\)"
    with pytest.raises(ValueError, match=message):
        Confusion(classes=("a", "b"), counts=np.zeros((2, 3), dtype=np.int64))
