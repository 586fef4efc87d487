"""The frames that the page's script draws in, with what is readable without it."""

from __future__ import annotations

import math
from typing import Any

from seqcl.report.content import Chart
from seqcl.report.markup import number, safe
from seqcl.report.scatter import MAX_POINTS
from seqcl.report.tables import chart_table, table_html

__all__ = ["chart_figure", "lines_html", "map_html"]

_COLOURS = 7
_SCRIPT_NEEDED = "<noscript><small>Drawn by script, which is switched off.</small></noscript>"
_MEANINGS = {
    "loss": "what training minimises",
    "lr": "learning rate",
    "grad_norm": "norm of the gradient, before clipping",
    "records_per_s": "records a second",
    "relative_std": "spread of the embeddings, 1 = in all directions alike; near 0 is collapse",
    "rankme": "effective number of dimensions in use",
    "alignment": "distance between two views of a record; lower is closer",
    "uniformity": "spread over the sphere; lower is more even",
    "positive_cosine": "mean cosine of two views of a record; 1 = alike",
    "negative_cosine": "mean cosine of views of two records; lower is further apart",
    "val_knn": "nearest neighbour among the validation records: share that is right",
    "val_ridge": "ridge classifier within the validation records: share that is right",
}


def chart_figure(chart: Chart, place: int) -> str:
    """Frame a curve, with its first and last value as text."""
    timed = "seconds a step" if chart.title.endswith("_s") else ""
    meaning = chart.note or _MEANINGS.get(chart.title, timed)
    small = f"<small>{safe(meaning)}</small>" if meaning else ""
    keys = _keys(chart) if len(chart.lines) > 1 else ""
    return (
        f'<figure data-chart="{place}"><figcaption><b>{safe(chart.title)}</b>'
        f"<output>{_first_last(chart)}</output>{small}</figcaption>{keys}"
        f'<div class="plot">{_SCRIPT_NEEDED}</div></figure>'
    )


def _keys(chart: Chart) -> str:
    """Return the colours and names of the lines."""
    items = "".join(
        f'<li class="c{index % _COLOURS}"><svg viewBox="0 0 12 12" aria-hidden="true">'
        f'<rect width="12" height="12" rx="2"/></svg>{safe(line.name)}</li>'
        for index, line in enumerate(chart.lines)
    )
    return f'<ul class="legend keys">{items}</ul>'


def _first_last(chart: Chart) -> str:
    known = [value for value in chart.lines[0].y if math.isfinite(value)]
    return f"{number(known[0])} → {number(known[-1])}" if known else "no finite values"


def lines_html(chart: Chart, place: int) -> str:
    """Frame a chart of several lines, with a key and its values as a table."""
    note = f'<p class="note">{safe(chart.note)}</p>' if chart.note else ""
    return (
        f'<figure data-chart="{place}"><figcaption><b>{safe(chart.title)}</b><output></output>'
        f"</figcaption>{_keys(chart)}"
        f'<div class="plot">{_SCRIPT_NEEDED}</div></figure>'
        f"<details><summary>Values</summary>{table_html(chart_table(chart))}</details>{note}"
    )


def map_html(payload: dict[str, Any], method: str) -> str:
    """Frame the embedding map, and say how many records it leaves out and why."""
    legend = "".join(
        f"<li>{safe(name)} <i>{count:,}</i></li>"
        for name, count in zip(payload["classes"], payload["counts"], strict=True)
    )
    return (
        f'<p class="lead">{" ".join(_map_sentences(payload, method))}</p>'
        '<div class="map"><figure><div class="plot" tabindex="0" aria-label="Embedding map: left '
        f'and right arrow keys walk over the records">{_SCRIPT_NEEDED}</div></figure>'
        + (f'<ul class="legend">{legend}</ul>' if legend else "")
        + "</div>"
    )


def _map_sentences(payload: dict[str, Any], method: str) -> list[str]:
    drawn, total, lost = len(payload["x"]), payload["total"], payload["lost"]
    said = [f"Each point is a record, placed by {safe(method)} of its embedding."]
    said += ["Point at one to see its series; click to pin it."] if payload["series"] else []
    said += ["Click a class to see it alone."] if payload["classes"] else []
    if drawn == MAX_POINTS < total - lost:
        said.append(f"{drawn:,} of {total:,} records are drawn, each class in proportion.")
    if lost:
        said.append(f"{lost:,} without finite coordinates are left out.")
    return said
