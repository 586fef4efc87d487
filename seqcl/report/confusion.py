"""The confusion matrix as a heat table: counts as text, row shares as colour."""

from __future__ import annotations

import numpy as np

from seqcl.report.content import Confusion, Row, Table
from seqcl.report.markup import safe
from seqcl.report.tables import scrollable, table_html

__all__ = ["confusion_html"]

_DENSE_ABOVE = 12
_MATRIX_UP_TO = 60
_PAIRS = 30


def confusion_html(confusion: Confusion) -> str:
    """Draw the matrix; above 60 classes the 30 most frequent confusions instead."""
    if len(confusion.classes) > _MATRIX_UP_TO:
        return table_html(_frequent(confusion))
    columns = "".join(
        f'<th scope="col"><span title="{safe(name)}">{safe(name)}</span></th>'
        for name in (*confusion.classes, "recall %")
    )
    rows = "\n".join(_row(confusion, index) for index in range(len(confusion.classes)))
    kind = "confusion dense" if len(confusion.classes) > _DENSE_ABOVE else "confusion"
    table = (
        f'<table class="{kind}"><thead><tr><td><small>true ↓, predicted →</small></td>{columns}'
        f"</tr></thead>\n<tbody>{rows}</tbody></table>"
    )
    return scrollable(table, "confusion matrix")


def _row(confusion: Confusion, index: int) -> str:
    counts = confusion.counts[index]
    total = int(counts.sum())
    cells = "".join(
        _cell(int(count), int(count) / max(total, 1), column == index)
        for column, count in enumerate(counts)
    )
    recall = f"{100 * int(counts[index]) / total:.0f}" if total else "–"
    name = safe(confusion.classes[index])
    head = f'<th scope="row"><span title="{name}">{name}</span></th>'
    return f'<tr>{head}{cells}<td class="recall">{recall}</td></tr>'


def _cell(count: int, share: float, hit: bool) -> str:
    if count == 0:
        return '<td class="none">0</td>'
    return f'<td class="{"hit" if hit else "miss"}" style="--share:{share:.2f}">{count:,}</td>'


def _frequent(confusion: Confusion) -> Table:
    counts = confusion.counts.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(place), len(confusion.classes)) for place in order]
    rows = tuple(
        Row(
            name=confusion.classes[true],
            cells=(
                confusion.classes[predicted],
                int(counts[true, predicted]),
                int(confusion.counts[true].sum()),
            ),
        )
        for true, predicted in pairs
        if counts[true, predicted]
    )
    return Table(
        title=f"The {len(rows)} most frequent confusions of {len(confusion.classes)} classes",
        header=("true class", "predicted as", "records", "of"),
        rows=rows,
    )
