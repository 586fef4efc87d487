"""Curves for the page's script: metrics records as charts, long lines made short."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.report.content import Chart, Line
from seqcl.report.markup import clean

__all__ = ["chart_payload", "curve_charts"]

_AXES = frozenset({"step", "epoch"})
_UNTOUCHED = 400
_STRETCHES = 130


def curve_charts(records: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    """Return one chart per number that metrics records hold; records without `step` are skipped."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for record in (record for record in records if "step" in record):
        for name, value in record.items():
            if name not in _AXES and isinstance(value, Real) and not isinstance(value, bool):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(float(record["step"]))
                values.append(float(value))
    return tuple(
        Chart(title=name, x_label="step", lines=(Line(name=name, x=steps, y=values),))
        for name, (steps, values) in curves.items()
    )


def chart_payload(chart: Chart) -> dict[str, Any]:
    """Return a chart for the script; a long line keeps the extremes of each stretch."""
    return {
        "title": clean(chart.title),
        "xLabel": clean(chart.x_label),
        "logX": chart.log_x,
        "lines": [_line_payload(line) for line in chart.lines],
    }


def _line_payload(line: Line) -> dict[str, Any]:
    kept = _thinned(np.asarray(line.y, dtype=np.float64))
    parts = {"x": line.x, "y": line.y, "low": line.low, "high": line.high}
    return {"name": clean(line.name)} | {
        name: [_rounded(float(part[index])) for index in kept]
        for name, part in parts.items()
        if part is not None
    }


def _thinned(values: npt.NDArray[np.float64]) -> list[int]:
    """Choose the lowest, the highest and the first broken value of each of 130 stretches."""
    if len(values) <= _UNTOUCHED:
        return list(range(len(values)))
    chosen = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), _STRETCHES):
        part = values[stretch]
        broken = ~np.isfinite(part)
        places = {
            int(np.where(broken, np.inf, part).argmin()),
            int(np.where(broken, -np.inf, part).argmax()),
            int(broken.argmax()),
        }
        chosen.update(int(stretch[place]) for place in places)
    return sorted(chosen)


def _rounded(value: float) -> float | None:
    """Seven digits are finer than a pixel; null breaks the line."""
    return float(f"{value:.7g}") if math.isfinite(value) else None
