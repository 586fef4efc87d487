"""The report page: one HTML file that holds everything it needs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib.resources import files as package_files
from pathlib import Path
from string import Template
from typing import Any

from seqcl.errors import UsageError
from seqcl.files import atomic_write
from seqcl.report.charts import chart_payload, cosine_chart, curve_charts
from seqcl.report.confusion import confusion_html
from seqcl.report.content import Chart, ReportContent
from seqcl.report.figures import chart_figure, lines_html, map_html
from seqcl.report.markup import json_text, safe
from seqcl.report.scatter import map_payload
from seqcl.report.tables import cell_text, comparison_html, table_html

__all__ = ["render_report", "write_report"]

_NOTES_SHOWN = 10
_NOTES_KEPT = 200

Section = tuple[str, str, str]


def write_report(path: Path, content: ReportContent) -> None:
    """Write the report as one self-contained HTML file, whole or not at all.

    Raises:
        UsageError: `path` cannot be written: its folder is missing or read-only, the disk is full.
    """
    page = render_report(content)
    try:
        atomic_write(path, page)
    except OSError as error:
        raise UsageError(
            f"{path}: the report cannot be written ({error.strerror}); choose another file"
        ) from error


def render_report(content: ReportContent) -> str:
    """Return the page: style, script and data inline, nothing loaded from anywhere."""
    charts = curve_charts(content.curves)
    cosines = cosine_chart(content.curves)
    single = [chart for chart in (cosines, content.few_labels) if chart]
    drawn = [*charts, *single, *content.charts]
    scatter = map_payload(content.scatter) if content.scatter else None
    sections = list(_sections(content, charts, cosines, scatter))
    script = _part("report.js")
    return Template(_part("template.html")).substitute(
        title=safe(content.title),
        created=f'<p class="created">{safe(content.created)}</p>' if content.created else "",
        policy=_policy(script),
        style=_part("style.css"),
        nav=_navigation(sections),
        sections="\n".join(_section(*section) for section in sections),
        payload=json_text({"charts": [chart_payload(chart) for chart in drawn], "map": scatter}),
        script=script,
    )


def _sections(
    content: ReportContent,
    charts: tuple[Chart, ...],
    cosines: Chart | None,
    scatter: dict[str, Any] | None,
) -> Iterator[Section]:
    """Yield (id, heading, HTML) of what there is, the most wanted first."""
    if content.comparisons:
        headlines = "\n".join(map(comparison_html, content.comparisons))
        yield "comparison", "What training changed", headlines
    if content.facts or content.command:
        yield "run", "Run", _facts_html(content)
    if content.notes:
        yield "notes", "Notes", _notes_html(content.notes)
    if content.tables:
        yield "results", "Results", "\n".join(map(table_html, content.tables))
    if content.scatter and scatter:
        yield "map", "Embedding map", map_html(scatter, content.scatter.method)
    if content.confusion:
        yield "confusion", "Confusion matrix", confusion_html(content.confusion)
    if content.few_labels:
        place = len(charts) + (cosines is not None)
        yield "few-labels", "Few labels", lines_html(content.few_labels, place)
    if content.charts:
        first = len(charts) + (cosines is not None) + (content.few_labels is not None)
        drawn = (chart_figure(chart, first + place) for place, chart in enumerate(content.charts))
        yield "recordings", "Recordings", '<div class="charts">' + "\n".join(drawn) + "</div>"
    if charts:
        figures = "\n".join(chart_figure(chart, place) for place, chart in enumerate(charts))
        yield "curves", "Training", f'<div class="charts">{figures}</div>'
    if cosines:
        yield "cosines", "Similarity of pairs", lines_html(cosines, len(charts))
    if content.preset:
        preset = f"<pre>{safe(content.preset)}</pre>"
        yield (
            "preset",
            "Preset",
            f"<details open><summary>Resolved preset</summary>{preset}</details>",
        )


def _section(name: str, heading: str, html: str) -> str:
    return f'<section id="{name}">\n<h2>{heading}</h2>\n{html}\n</section>'


def _navigation(sections: list[Section]) -> str:
    links = "".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in sections)
    return f'<nav aria-label="Sections">{links}</nav>' if len(sections) > 1 else ""


def _facts_html(content: ReportContent) -> str:
    facts = "".join(
        f"<div><dt>{safe(name)}</dt><dd>{safe(cell_text(value))}</dd></div>"
        for name, value in content.facts.items()
    )
    command = f'<p class="command"><code>{safe(content.command)}</code></p>'
    return (f"<dl>{facts}</dl>" if facts else "") + (command if content.command else "")


def _notes_html(notes: tuple[str, ...]) -> str:
    """List the first notes, fold the next ones away, and count those beyond 200."""
    shown, folded = notes[:_NOTES_SHOWN], notes[_NOTES_SHOWN:_NOTES_KEPT]
    html = _list(shown)
    if folded:
        html += f"<details><summary>{len(folded):,} more</summary>{_list(folded)}</details>"
    if len(notes) > _NOTES_KEPT:
        html += f'<p class="note">{len(notes) - _NOTES_KEPT:,} further notes are not shown.</p>'
    return html


def _list(notes: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{safe(note)}</li>" for note in notes) + "</ul>"


def _policy(script: str) -> str:
    """Forbid every load, and every script but ours: a second wall behind the escaping."""
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


def _part(name: str) -> str:
    return package_files("seqcl.report").joinpath(name).read_text("utf-8").strip()
