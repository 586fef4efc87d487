"""Series as small multiples in one SVG: no plotting library, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

__all__ = ["Panel", "draw_panels"]

_WIDTH, _HEIGHT, _GAP, _TITLE = 240, 90, 16, 18
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


@dataclass(frozen=True)
class Panel:
    """One series with its title."""

    title: str
    values: npt.NDArray[np.float32]
    """(C, T)."""


def draw_panels(grid: Sequence[Sequence[Panel]], *, html: bool = False) -> str:
    """Draw rows of panels; the panels of a row share their vertical scale."""
    columns = max(len(row) for row in grid)
    width = _GAP + columns * (_WIDTH + _GAP)
    height = _GAP + len(grid) * (_HEIGHT + _TITLE + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for line, row in enumerate(grid):
        low, high = _range(row)
        for column, panel in enumerate(row):
            x = _GAP + column * (_WIDTH + _GAP)
            y = _GAP + line * (_HEIGHT + _TITLE + _GAP)
            parts.append(_draw(panel, x, y, low, high))
    svg = "\n".join([*parts, "</svg>"])
    if not html:
        return svg
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>views</title>{svg}</html>'


def _range(row: Sequence[Panel]) -> tuple[float, float]:
    low = min(float(np.nanmin(panel.values, initial=0.0)) for panel in row)
    high = max(float(np.nanmax(panel.values, initial=0.0)) for panel in row)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _draw(panel: Panel, x: int, y: int, low: float, high: float) -> str:
    title = panel.title if len(panel.title) <= 36 else f"…{panel.title[-35:]}"
    parts = [
        f'<text x="{x}" y="{y + 11}" fill="#333">{escape(title)}</text>',
        f'<rect x="{x}" y="{y + _TITLE}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'fill="#f7f7f8" stroke="#ddd"/>',
    ]
    steps = panel.values.shape[1]
    across = x + np.arange(steps) * (_WIDTH / max(1, steps - 1))
    for channel, values in enumerate(panel.values):
        down = y + _TITLE + (high - np.nan_to_num(values)) / (high - low) * _HEIGHT
        points = " ".join(f"{a:.1f},{d:.1f}" for a, d in zip(across, down, strict=True))
        colour = _COLOURS[channel % len(_COLOURS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
    return "\n".join(parts)
