"""Timelines: a recording's score with its incidents, and channels under it, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from seqcl.files import atomic_write
from seqcl.report.canvas import Canvas
from seqcl.report.ticks import row_ticks, time_ticks

__all__ = ["Timeline", "Track", "draw_timelines", "write_timelines"]

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Points = npt.NDArray[np.float64]
_Number = TypeVar("_Number", float, Points)

_WIDTH, _LEFT, _RIGHT = 1_000, 64, 20
_PLOT = _WIDTH - _LEFT - _RIGHT
_HEAD, _AXIS, _BELOW = 78, 22, 26
_TITLE, _SCORE, _CHANNEL, _GAP = 18, 140, 62, 8
_INK, _GREY, _FRAME, _PAPER = "#1f2933", "#6b7680", "#d5dade", "#fbfbfc"
_SCORE_COLOUR, _CHANNEL_COLOUR, _LIMIT = "#0b5c8a", "#3d4f5c", "#c8500a"
_INCIDENT, _LABEL = "#fbdcc6", "#009e73"
_THINNEST = 2.0
"""Width of the shortest incident that can still be seen."""


@dataclass(frozen=True)
class Track:
    """A channel to be drawn under the score."""

    name: str
    note: str
    """What stands beside the name."""
    values: Floats
    """(T,); NaN breaks the line."""


@dataclass(frozen=True)
class Timeline:
    """A recording: its score, its incidents, and some of its channels."""

    title: str
    notes: Sequence[str]
    """At most two lines below the title."""
    score: Floats
    """(T,); NaN where there is none."""
    threshold: float
    incidents: Sequence[tuple[int, int, int]]
    """First row, last row and peak of each."""
    tracks: Sequence[Track]
    times: npt.NDArray[np.int64] | None = None
    """(T,) nanoseconds since 1970."""
    labelled: npt.NDArray[np.bool_] | None = None
    """(T,) rows that are known to be anomalous."""


def write_timelines(out: Path, timelines: Sequence[Timeline]) -> None:
    """Write a picture of the suffix's form, ``.png`` or ``.svg``."""
    canvas = draw_timelines(timelines)
    atomic_write(out, canvas.png() if out.suffix == ".png" else canvas.svg())


def draw_timelines(timelines: Sequence[Timeline]) -> Canvas:
    """Draw recordings one below another."""
    heights = [_height(one) for one in timelines]
    canvas = Canvas(_WIDTH, sum(heights))
    canvas.rectangle(0, 0, _WIDTH, canvas.height, "#ffffff")
    top = 0
    for one, height in zip(timelines, heights, strict=True):
        _draw(canvas, one, top)
        top += height
    return canvas


def _height(one: Timeline) -> int:
    return _HEAD + _SCORE + len(one.tracks) * (_TITLE + _CHANNEL + _GAP) + _GAP + _AXIS + _BELOW


def _draw(canvas: Canvas, one: Timeline, top: int) -> None:
    canvas.text(_LEFT, top + 24, _short(one.title, 60), 16, _INK)
    for place, text in enumerate(one.notes[:2]):
        canvas.text(_LEFT, top + 44 + 18 * place, text, 12, _GREY)
    _legend(canvas, one, top + 24)
    y = top + _HEAD
    _panel(canvas, one, y, _SCORE)
    low, high = _span(np.append(one.score, one.threshold))
    _curve(canvas, one.score, low, high, y, _SCORE, _SCORE_COLOUR, 1.3)
    level = _down(one.threshold, low, high, y, _SCORE)
    ends = np.array([[_LEFT, level], [_LEFT + _PLOT, level]], np.float64)
    canvas.line(ends, _LIMIT, 1.2, dashes=5.0)
    for _, _, peak in one.incidents:
        x, height = (
            _across(peak, len(one.score)),
            _down(float(one.score[peak]), low, high, y, _SCORE),
        )
        canvas.rectangle(x - 2.5, height - 2.5, 5, 5, _LIMIT)
    _scale(canvas, one.score, y, _SCORE)
    if y + 16 < level < y + _SCORE - 16:
        canvas.text(_LEFT - 6, level + 4, f"{one.threshold:.3g}", 11, _LIMIT, "end")
    y += _SCORE + _GAP
    for track in one.tracks:
        canvas.text(_LEFT, y + 13, _short(track.name, 60), 12, _INK)
        canvas.text(_LEFT + _PLOT, y + 13, track.note, 11, _GREY, "end")
        y += _TITLE
        _panel(canvas, one, y, _CHANNEL)
        low, high = _span(track.values)
        _curve(canvas, track.values, low, high, y, _CHANNEL, _CHANNEL_COLOUR, 1.0)
        _scale(canvas, track.values, y, _CHANNEL)
        y += _CHANNEL + _GAP
    _axis(canvas, one, y - _GAP)


def _legend(canvas: Canvas, one: Timeline, y: float) -> None:
    """Name the colours, from right to left."""
    x = float(_LEFT + _PLOT)
    entries = [("incident", _INCIDENT, 66), ("threshold", _LIMIT, 76), ("score", _SCORE_COLOUR, 52)]
    if one.labelled is not None:
        entries.insert(0, ("labelled", _LABEL, 66))
    for name, colour, width in entries:
        canvas.text(x, y, name, 11, _GREY, "end")
        thick = 9 if name == "incident" else 3
        canvas.rectangle(x - width, y - 4 - thick / 2, 12, thick, colour)
        x -= width + 14


def _panel(canvas: Canvas, one: Timeline, y: float, height: float) -> None:
    """Draw the ground of a panel: incidents, and a band where rows are labelled."""
    canvas.rectangle(_LEFT, y, _PLOT, height, _PAPER, _FRAME)
    steps = len(one.score)
    for first, last, _ in one.incidents:
        x = _across(first - 0.5, steps)
        width = max(_across(last + 0.5, steps) - x, _THINNEST)
        x = min(x, _LEFT + _PLOT - width)
        canvas.rectangle(x, y, width, height, _INCIDENT)
    if one.labelled is not None:
        edges = np.diff(one.labelled.astype(np.int8), prepend=0, append=0)
        for first, stop in zip(*(np.flatnonzero(edges == sign) for sign in (1, -1)), strict=True):
            x = _across(first - 0.5, steps)
            width = max(_across(stop - 0.5, steps) - x, _THINNEST)
            canvas.rectangle(min(x, _LEFT + _PLOT - width), y, width, 4, _LABEL)


def _curve(
    canvas: Canvas, values: Floats, low: float, high: float, y: float, height: float,
    colour: str, width: float,
) -> None:  # fmt: skip
    """Draw a series; of a long one the lowest and the highest value of each pixel."""
    rows, shown = _envelope(np.asarray(values, np.float64))
    points = np.stack([_across(rows, len(values)), _down(shown, low, high, y, height)], axis=1)
    known = np.isfinite(shown)
    breaks = np.flatnonzero(np.diff(known.astype(np.int8), prepend=0, append=0))
    for first, stop in breaks.reshape(-1, 2).tolist():
        part = points[first:stop]
        if len(part) == 1:
            part = part.repeat(2, axis=0) + np.array([[-0.5, 0.0], [0.5, 0.0]])
        canvas.line(part, colour, width)


def _envelope(values: Points) -> tuple[Points, Points]:
    """Return rows and values to draw: all, or two for each pixel, NaN where it has none."""
    pixels = _PLOT
    if len(values) <= 2 * pixels:
        return np.arange(len(values), dtype=np.float64), values
    starts = np.linspace(0, len(values), pixels, endpoint=False).astype(np.int64)
    known = np.isfinite(values)
    lowest = np.minimum.reduceat(np.where(known, values, np.inf), starts)
    highest = np.maximum.reduceat(np.where(known, values, -np.inf), starts)
    pairs = np.stack([lowest, highest], axis=1)
    pairs[1::2] = pairs[1::2, ::-1]  # down again, so that the line is not a saw
    pairs[~np.isfinite(pairs)] = np.nan
    return np.repeat(starts.astype(np.float64), 2), pairs.reshape(-1)


def _scale(canvas: Canvas, values: Floats, y: float, height: float) -> None:
    """Write the highest value at the top and the lowest at the bottom."""
    known = values[np.isfinite(values)]
    if len(known):
        canvas.text(_LEFT - 6, y + 10, f"{known.max():.4g}", 11, _GREY, "end")
        canvas.text(_LEFT - 6, y + height - 2, f"{known.min():.4g}", 11, _GREY, "end")


def _axis(canvas: Canvas, one: Timeline, y: float) -> None:
    """Write times, or rows, below the last panel."""
    steps = len(one.score)
    ticks = row_ticks(steps) if one.times is None else time_ticks(one.times)
    last = -np.inf
    for row, text in ticks:
        x = _across(row, steps)
        if x - last < 70 or x > _LEFT + _PLOT - 20:
            continue
        canvas.line(np.array([[x, y], [x, y + 4]]), _GREY)
        canvas.text(x, y + 17, text, 11, _GREY, "middle")
        last = x
    if one.times is None:
        canvas.text(_LEFT + _PLOT, y + 17, "row", 11, _GREY, "end")


def _span(values: Floats) -> tuple[float, float]:
    """Return the range of what is known, with some room; 0 to 1 where nothing is."""
    known = np.asarray(values, np.float64)[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    room = 0.04 * (high - low) or max(1e-9, 0.5 * abs(high))
    return low - room, high + room


def _across(row: _Number, steps: int) -> _Number:
    return _LEFT + (row + 0.5) / max(1, steps) * _PLOT


def _down(value: _Number, low: float, high: float, y: float, height: float) -> _Number:
    return y + (high - value) / (high - low) * height


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"…{text[1 - longest :]}"
