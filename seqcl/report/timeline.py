"""Timelines: a recording's score with its incidents, and channels under it, as one picture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seqcl.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Timeline", "Track", "draw_timelines", "write_timelines"]

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_WIDTH, _HEAD, _SCORE, _CHANNEL, _GAP, _FOOT = 10.0, 0.8, 1.4, 0.6, 0.27, 0.55
"""Inches: of the picture, above the panels, of a panel, between two, below them."""
_LEFT, _RIGHT = 0.075, 0.98
_DPI = 200
_PIXELS = 1_800
"""Points along a panel that can be told apart."""
_INK, _GREY = "#1f2933", "#6b7680"
_SCORE_COLOUR, _CHANNEL_COLOUR, _LIMIT = "#0b5c8a", "#3d4f5c", "#c8500a"
_INCIDENT, _LABEL = "#fbdcc6", "#009e73"
_STYLE: dict[Any, Any] = {"font.size": 8, "axes.edgecolor": "#d5dade", "axes.facecolor": "#fbfbfc",
          "xtick.color": _GREY, "ytick.color": _GREY, "xtick.labelcolor": _GREY,
          "ytick.labelcolor": _GREY, "text.parse_math": False, "date.converter": "concise",
          "svg.fonttype": "none", "svg.hashsalt": "seqcl"}  # fmt: skip


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
    threshold: Floats
    """(T,)."""
    incidents: Sequence[tuple[int, int, int]]
    """First row, last row and peak of each."""
    tracks: Sequence[Track]
    times: npt.NDArray[np.int64] | None = None
    """(T,) nanoseconds since 1970."""
    labelled: npt.NDArray[np.bool_] | None = None
    """(T,) rows that are known to be anomalous."""

    @property
    def x(self) -> npt.NDArray[Any]:
        """Where the rows stand: (T,) times, or their numbers."""
        if self.times is None:
            return np.arange(len(self.score))
        return self.times.astype("datetime64[ns]")


def write_timelines(out: Path, timelines: Sequence[Timeline]) -> None:
    """Write a picture of the suffix's form, ``.png`` or ``.svg``; needs matplotlib."""
    import matplotlib as mpl

    stream = io.BytesIO()
    form = out.suffix.removeprefix(".")
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter without a shape is drawn as a box
        metadata = {"Date": None} if form == "svg" else None
        draw_timelines(timelines).savefig(stream, format=form, dpi=_DPI, metadata=metadata)
    atomic_write(out, stream.getvalue())


def draw_timelines(timelines: Sequence[Timeline]) -> Figure:
    """Draw recordings one below another."""
    from matplotlib.figure import Figure

    heights = [_height(one) for one in timelines]
    figure = Figure(figsize=(_WIDTH, sum(heights)))
    top = sum(heights)
    for one, height in zip(timelines, heights, strict=True):
        _draw(figure, one, top)
        top -= height
    return figure


def _height(one: Timeline) -> float:
    return _HEAD + _SCORE + len(one.tracks) * (_GAP + _CHANNEL) + _FOOT


def _draw(figure: Figure, one: Timeline, top: float) -> None:
    """Draw a recording whose upper edge is `top` inches above the lower one of the figure."""
    whole = figure.get_figheight()
    panels: list[Axes] = []
    y = top - _HEAD
    for height in (_SCORE, *(_CHANNEL for _ in one.tracks)):
        box = (_LEFT, (y - height) / whole, _RIGHT - _LEFT, height / whole)
        panels.append(figure.add_axes(box, sharex=panels[0] if panels else None))
        y -= height + _GAP
    for text, down, size, colour in (
        (_short(one.title), 0.24, 12, _INK),
        *((note, 0.44 + 0.18 * row, 8, _GREY) for row, note in enumerate(one.notes[:2])),
    ):
        figure.text(_LEFT, (top - down) / whole, text, size=size, color=colour)
    score, *channels = panels
    _curve(score, one, one.score, _SCORE_COLOUR, "score")
    rows, shown = _envelope(np.asarray(one.threshold, np.float64))
    score.plot(one.x[rows], shown, color=_LIMIT, lw=1, ls="--", label="threshold")
    peaks = [peak for _, _, peak in one.incidents]
    score.plot(one.x[peaks], one.score[peaks], "s", color=_LIMIT, ms=3)
    for panel, track in zip(channels, one.tracks, strict=True):
        _curve(panel, one, track.values, _CHANNEL_COLOUR, track.name)
        panel.set_title(_short(track.name), loc="left", size=8, color=_INK, pad=3)
        panel.set_title(track.note, loc="right", size=7, color=_GREY, pad=3)
    for panel in panels:
        _shade(panel, one)
        panel.margins(x=0)
        panel.tick_params(labelbottom=panel is panels[-1], length=2)
        panel.locator_params(axis="y", nbins=3)
    if one.times is None:
        panels[-1].xaxis.set_major_formatter("{x:,.0f}")
        panels[-1].locator_params(axis="x", integer=True)
        panels[-1].set_xlabel("row", loc="right", color=_GREY, labelpad=0)
    score.legend(
        loc="lower right", bbox_to_anchor=(1, 1 + 0.55 / _SCORE), ncols=4, frameon=False,
        labelcolor=_GREY, borderaxespad=0,
    )  # fmt: skip


def _curve(panel: Axes, one: Timeline, values: Floats, colour: str, name: str) -> None:
    """Draw a series; of a long one the lowest and the highest value of each pixel."""
    rows, shown = _envelope(np.asarray(values, np.float64))
    alone = np.isfinite(shown) & ~np.isfinite(np.pad(shown, 1, constant_values=np.nan)[:-2])
    alone &= ~np.isfinite(np.append(shown[1:], np.nan))
    panel.plot(one.x[rows], shown, color=colour, lw=0.8, label=name)
    panel.plot(one.x[rows[alone]], shown[alone], ",", color=colour)
    if not np.isfinite(shown).any():
        panel.set_yticks([])


def _shade(panel: Axes, one: Timeline) -> None:
    """Shade incidents, and mark above them the rows that are labelled."""
    for number, (first, last, _) in enumerate(one.incidents):
        name = None if number else "incident"
        panel.axvspan(
            one.x[first], one.x[last], fc=_INCIDENT, ec=_INCIDENT, lw=1, zorder=0, label=name
        )
    if one.labelled is None:
        return
    edges = np.diff(one.labelled.astype(np.int8), prepend=0, append=0)
    runs = zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1, strict=True)
    for number, (first, last) in enumerate(runs):
        name = None if number else "labelled"
        panel.axvspan(one.x[first], one.x[last], 0.94, 1, fc=_LABEL, ec=_LABEL, lw=1, label=name)


def _envelope(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return rows and values to draw: all, or two for each pixel, NaN where it has none."""
    if len(values) <= 2 * _PIXELS:
        return np.arange(len(values)), values
    starts = np.linspace(0, len(values), _PIXELS, endpoint=False).astype(np.int64)
    known = np.isfinite(values)
    lowest = np.minimum.reduceat(np.where(known, values, np.inf), starts)
    highest = np.maximum.reduceat(np.where(known, values, -np.inf), starts)
    pairs = np.stack([lowest, highest], axis=1)
    pairs[1::2] = pairs[1::2, ::-1]  # down again, so that the line is not a saw
    pairs[~np.isfinite(pairs)] = np.nan
    return np.repeat(starts, 2), pairs.reshape(-1)


def _short(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else f"…{text[1 - longest :]}"
