"""One self-contained HTML page about a run: results, embedding map, curves, preset."""

from seqcl.report.content import (
    Cell,
    Chart,
    Comparison,
    Confusion,
    Estimate,
    Line,
    ReportContent,
    Row,
    Scatter,
    Table,
)
from seqcl.report.page import render_report, write_report

__all__ = [
    "Cell",
    "Chart",
    "Comparison",
    "Confusion",
    "Estimate",
    "Line",
    "ReportContent",
    "Row",
    "Scatter",
    "Table",
    "render_report",
    "write_report",
]
