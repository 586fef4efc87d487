"""The page of a detection: scores and incidents of each recording, and the channels they are in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqcl.detection.detector import Detector
from seqcl.report import Chart, Line, ReportContent, Row, Table, write_report
from seqcl.run.detecting import Detected
from seqcl.run.folder import Run

__all__ = ["report_detection", "top_channels"]

_CHANNELS = 6
"""Channels that are drawn of each recording: those with the largest shares."""
_INCIDENTS = 50


def report_detection(run: Run, detector: Detector, found: Sequence[Detected], out: Path) -> None:
    """Write the page; raises UsageError where it cannot be written."""
    charts = tuple(chart for one in found for chart in _charts(run, detector, one))
    content = ReportContent(
        title=f"Anomalies: {run.path.name}",
        tables=tuple(_table(run, one) for one in found),
        charts=charts,
    )
    write_report(out, content)


def _charts(run: Run, detector: Detector, one: Detected) -> Iterator[Chart]:
    """Yield the score with its threshold and incidents, then channels in deviations."""
    rows = np.arange(len(one.series)).tolist()
    score = one.scores.fused.tolist()
    threshold = one.thresholds.tolist()
    known = one.scores.fused[~np.isnan(one.scores.fused)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    raised = np.where(one.alarms, high, low).tolist()
    lines = [
        Line(name="score", x=rows, y=score),
        Line(name="threshold", x=rows, y=threshold),
        Line(name="incident", x=rows, y=raised),
    ]
    if one.series.labels is not None:
        labelled = np.where(one.series.labels > 0, high, low).tolist()
        lines.append(Line(name="label", x=rows, y=labelled))
    name = one.series.id
    yield Chart(
        title=f"{name}: score", x_label="row", lines=tuple(lines), zoom=name,
        note="Drag over a stretch to see it in all charts of this recording; double-click for all.",
    )  # fmt: skip
    values = detector.scaling(one.series.values).numpy()
    for place in top_channels(detector, one)[0]:
        line = Line(name=run.channels[place], x=rows, y=values[:, place].tolist())
        title = f"{name}: {run.channels[place]} (deviations from normal)"
        yield Chart(title=title, x_label="row", lines=(line,), zoom=name)


def top_channels(detector: Detector, one: Detected) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Return the channels with the largest shares in the incidents, and the shares of all (C,).

    Where there are no incidents, the channels that vary most.
    """
    varying = np.nanstd(detector.scaling(one.series.values).numpy(), axis=0)
    shares = np.sum([e.shares for e in one.explanations], 0, initial=0.0) + 1e-9 * varying
    return np.argsort(-shares, kind="stable")[:_CHANNELS].tolist(), np.asarray(shares, np.float64)


def _table(run: Run, one: Detected) -> Table:
    ranked = sorted(
        zip(one.incidents, one.explanations, strict=True), key=lambda pair: -pair[0].score
    )
    rows = []
    for incident, explanation in ranked[:_INCIDENTS]:
        order = np.argsort(-explanation.shares, kind="stable")[:3].tolist()
        named = [f"{run.channels[c]} {explanation.shares[c]:.0%}" for c in order]
        rows.append(
            Row(
                name=one.when(incident.peak) or f"row {incident.peak}",
                cells=(incident.start, incident.end, f"{incident.score:.2f}",
                       f"{incident.p_value:.1e}", ", ".join(named)),
            )
        )  # fmt: skip
    header = ("peak", "first row", "last row", "score", "p-value", "channels")
    return Table(
        title=f"Incidents of {one.series.id}",
        header=header,
        rows=tuple(rows),
        note=f"{one.summary}.",
    )
