"""Result tables with interval bars, drawn as HTML that needs no script."""

from __future__ import annotations

import math

from seqcl.report.content import Cell, Chart, Comparison, Estimate, Row, Table
from seqcl.report.markup import number, safe

__all__ = ["cell_text", "chart_table", "comparison_html", "scrollable", "table_html"]

Span = tuple[float, float]


def cell_text(cell: Cell) -> str:
    """Return the visible text of a cell, not yet escaped."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    return number(cell.value if isinstance(cell, Estimate) else cell)


def table_html(table: Table) -> str:
    """Draw a table: row names left, numbers right, control rows muted."""
    spans = [_span(table, column) for column in range(len(table.header) - 1)]
    head = "".join(f'<th scope="col">{safe(name)}</th>' for name in table.header)
    body = "\n".join(_row(row, spans) for row in table.rows)
    kind = "results ranked" if any(row.control for row in table.rows) else "results"
    title = f"<caption>{safe(table.title)}</caption>" if table.title else ""
    note = f'<p class="note">{safe(table.note)}</p>' if table.note else ""
    return (
        scrollable(
            f'<table class="{kind}">{title}<thead><tr>{head}</tr></thead>\n'
            f"<tbody>{body}</tbody></table>",
            table.title or "table",
        )
        + note
    )


def scrollable(html: str, label: str) -> str:
    """Wrap a wide table so that it scrolls by itself, by keyboard too."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{safe(label)}">{html}</div>'


def chart_table(chart: Chart) -> Table:
    """Return the values of a chart as a table, for reading without a script."""
    positions = sorted({x for line in chart.lines for x in line.x})
    rows = []
    for line in chart.lines:
        cells: dict[float, Cell] = dict(zip(line.x, line.y, strict=True))
        if line.low is not None and line.high is not None:
            estimates = map(Estimate, line.y, line.low, line.high)
            cells = dict(zip(line.x, estimates, strict=True))
        rows.append(Row(name=line.name, cells=tuple(cells.get(x) for x in positions)))
    header = (chart.x_label, *(f"{x:g}" for x in positions))
    return Table(title="", header=header, rows=tuple(rows))


def comparison_html(comparison: Comparison) -> str:
    """Draw the headline, with the difference and its interval against zero."""
    sentence = f'<p class="headline">{safe(comparison.sentence)}</p>'
    found = comparison.difference
    if found is None or not _finite(found):
        return sentence
    reach = max(abs(found.low), abs(found.high), abs(found.value)) * 1.25 or 1.0
    axis = '<line class="zero" x1="50%" x2="50%" y1="0" y2="100%"/>'
    caption = f"{number(found.low)} to {number(found.high)}; the line is 0"
    return f"{sentence}{_whisker(found, (-reach, reach), axis)}<small>{caption}</small>"


def _row(row: Row, spans: list[Span | None]) -> str:
    kind = ' class="control"' if row.control else ""
    note = f"<small>{safe(row.note)}</small>" if row.note else ""
    cells = "".join(_cell(cell, span) for cell, span in zip(row.cells, spans, strict=True))
    return f'<tr{kind}><th scope="row">{safe(row.name)}{note}</th>{cells}</tr>'


def _cell(cell: Cell, span: Span | None) -> str:
    text = safe(cell_text(cell))
    if isinstance(cell, str):
        return f'<td class="text">{text}</td>'
    if not isinstance(cell, Estimate) or not _finite(cell) or span is None:
        return f"<td>{text}</td>"
    interval = f"<small>{number(cell.low)} – {number(cell.high)}</small>"
    return f"<td>{text}{_whisker(cell, span)}{interval}</td>"


def _finite(estimate: Estimate) -> bool:
    return all(map(math.isfinite, (estimate.value, estimate.low, estimate.high)))


def _span(table: Table, column: int) -> Span | None:
    """Return the range of a column's intervals, so that its bars share one axis."""
    found = [row.cells[column] for row in table.rows]
    estimates = [cell for cell in found if isinstance(cell, Estimate) and _finite(cell)]
    if not estimates:
        return None
    return min(cell.low for cell in estimates), max(cell.high for cell in estimates)


def _whisker(estimate: Estimate, span: Span, axis: str = "") -> str:
    low, value, high = (_percent(x, span) for x in (estimate.low, estimate.value, estimate.high))
    return (
        f'<svg class="whisker" aria-hidden="true">{axis}'
        f'<line x1="{low}" x2="{high}" y1="50%" y2="50%"/>'
        f'<circle cx="{value}" cy="50%" r="3.5"/></svg>'
    )


def _percent(value: float, span: Span) -> str:
    """Place a value on an axis whose ends keep 5 % free for the dot."""
    low, high = span
    place = 0.5 if high == low else (value - low) / (high - low)
    return f"{5 + 90 * min(1.0, max(0.0, place)):.1f}%"
