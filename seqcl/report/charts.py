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

__all__ = ["chart_payload", "cosine_chart", "curve_charts"]

_AXES = frozenset({"step", "epoch"})
_STRETCHES = 130
"""What a long line is cut into; each keeps its extremes."""
_ZOOMED_STRETCHES = 2_000


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


def cosine_chart(records: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Return where cosines of positives and negatives lay in the first and the last record.

    From ``positive_cosines`` and ``negative_cosines``, counts in equal steps from -1 to 1; None
    where no record holds them.
    """
    known = [record for record in records if "positive_cosines" in record]
    if not known:
        return None
    shares = {
        f"{kind}, step {record['step']}": _shares(record[f"{kind[:-1]}_cosines"])
        for kind in ("positives", "negatives")
        for record in (known[0], known[-1])
    }
    together = np.sum(list(shares.values()), axis=0)
    width, filled = 2 / len(together), np.flatnonzero(together)
    places = range(max(0, filled[0] - 1), min(len(together), filled[-1] + 2))
    middles = [-1 + width * (place + 0.5) for place in places]
    return Chart(
        title="share of pairs",
        x_label="cosine of two embeddings",
        lines=tuple(
            Line(name=name, x=middles, y=[float(share[place]) for place in places])
            for name, share in shares.items()
        ),
        note="Positives are two views of a record, negatives views of two records, in steps of "
        f"{width:g}. Training parts the two.",
    )


def _shares(counts: Sequence[int]) -> npt.NDArray[np.float64]:
    return np.asarray(counts, np.float64) / max(1, sum(counts))


def chart_payload(chart: Chart) -> dict[str, Any]:
    """Return a chart for the script; a long line keeps the extremes of each stretch."""
    return {
        "title": clean(chart.title),
        "xLabel": clean(chart.x_label),
        "logX": chart.log_x,
        "zoom": clean(chart.zoom),
        "lines": [
            _line_payload(line, _ZOOMED_STRETCHES if chart.zoom else _STRETCHES)
            for line in chart.lines
        ],
    }


def _line_payload(line: Line, stretches: int) -> dict[str, Any]:
    kept = _thinned(np.asarray(line.y, dtype=np.float64), stretches)
    parts = {"x": line.x, "y": line.y, "low": line.low, "high": line.high}
    return {"name": clean(line.name)} | {
        name: [_rounded(float(part[index])) for index in kept]
        for name, part in parts.items()
        if part is not None
    }


def _thinned(values: npt.NDArray[np.float64], stretches: int) -> list[int]:
    """Choose the lowest, the highest and the first broken value of each stretch."""
    if len(values) <= 3 * stretches:
        return list(range(len(values)))
    chosen = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), stretches):
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
