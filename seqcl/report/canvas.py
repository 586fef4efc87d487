"""Canvas: rectangles, lines and text, written as SVG or as PNG, the same in both."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import ImageDraw

__all__ = ["Canvas"]

Floats = npt.NDArray[np.float64]
Anchor = Literal["start", "middle", "end"]

_SCALE = 2
"""Pixels of a PNG for each unit, for screens of today."""
_OVER = 2
"""Times as many are drawn, then averaged: pillow's lines have hard edges."""
_STRIP = 500
"""Units that are drawn at a time: the whole of a long picture would take half a gigabyte."""
_PIL_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


@dataclass(frozen=True)
class _Rectangle:
    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str | None


@dataclass(frozen=True)
class _Line:
    points: Floats  # (N, 2)
    colour: str
    width: float
    dashes: float


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    text: str
    size: int
    colour: str
    anchor: Anchor


@dataclass
class Canvas:
    """Shapes in the order in which they are drawn; the origin is at the top left."""

    width: int
    height: int
    _shapes: list[_Rectangle | _Line | _Text] = field(default_factory=list)

    def rectangle(
        self, x: float, y: float, width: float, height: float, fill: str, stroke: str | None = None
    ) -> None:
        """Fill a rectangle, and draw its edge where `stroke` is a colour."""
        self._shapes.append(_Rectangle(x, y, width, height, fill, stroke))

    def line(self, points: Floats, colour: str, width: float = 1.0, dashes: float = 0.0) -> None:
        """Draw a line through points (N, 2); with `dashes` of that length, and gaps as long."""
        self._shapes.append(_Line(points, colour, width, dashes))

    def text(
        self, x: float, y: float, text: str, size: int, colour: str, anchor: Anchor = "start"
    ) -> None:
        """Write `text`, its baseline at `y`."""
        self._shapes.append(_Text(x, y, text, size, colour, anchor))

    def svg(self) -> str:
        """Return the text of an SVG file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="system-ui, sans-serif">'
        )
        return "\n".join([head, *map(_svg, self._shapes), "</svg>\n"])

    def png(self) -> bytes:
        """Return the bytes of a PNG file."""
        from PIL import Image, ImageDraw

        sheet = Image.new("RGB", (self.width * _SCALE, self.height * _SCALE), "white")
        for top in range(0, self.height, _STRIP):
            size = (self.width * _SCALE * _OVER, min(_STRIP, self.height - top) * _SCALE * _OVER)
            strip = Image.new("RGB", size, "white")
            draw = ImageDraw.Draw(strip)
            for shape in self._shapes:
                _paint(draw, shape, top)
            sheet.paste(strip.reduce(_OVER), (0, top * _SCALE))
        stream = io.BytesIO()
        sheet.save(stream, "PNG")
        return stream.getvalue()


def _svg(shape: _Rectangle | _Line | _Text) -> str:
    if isinstance(shape, _Rectangle):
        edge = f' stroke="{shape.stroke}"' if shape.stroke else ""
        return (
            f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" '
            f'height="{shape.height:.1f}" fill="{shape.fill}"{edge}/>'
        )
    if isinstance(shape, _Text):
        return (
            f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size}" '
            f'fill="{shape.colour}" text-anchor="{shape.anchor}">{escape(shape.text)}</text>'
        )
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points.tolist())
    dashes = f' stroke-dasharray="{shape.dashes:g}"' if shape.dashes else ""
    return (
        f'<polyline points="{points}" fill="none" stroke="{shape.colour}" '
        f'stroke-width="{shape.width:g}" stroke-linejoin="round"{dashes}/>'
    )


def _paint(draw: ImageDraw.ImageDraw, shape: _Rectangle | _Line | _Text, top: float) -> None:
    """Draw a shape on a strip that begins at `top`; what lies beyond it is cut off."""
    from PIL import ImageFont

    factor = _SCALE * _OVER
    if isinstance(shape, _Rectangle):
        x, y = shape.x, shape.y - top
        corners = [round(value * factor) for value in (x, y, x + shape.width, y + shape.height)]
        box = (corners[0], corners[1], corners[2] - 1, corners[3] - 1)
        draw.rectangle(box, shape.fill, shape.stroke, factor)
    elif isinstance(shape, _Text):
        font = ImageFont.load_default(shape.size * factor)
        place = (shape.x * factor, (shape.y - top) * factor)
        draw.text(place, shape.text, shape.colour, font, anchor=_PIL_ANCHORS[shape.anchor])
    else:
        for part in _dashed(shape.points - [0.0, top], shape.dashes):
            points = [(float(x), float(y)) for x, y in part * factor]
            draw.line(points, shape.colour, round(shape.width * factor), joint="curve")


def _dashed(points: Floats, dash: float) -> list[Floats]:
    """Return the dashes of a straight line from its first point to its last; all of it if none."""
    if not dash:
        return [points]
    start, stop = points[0], points[-1]
    length = float(np.hypot(*(stop - start)))
    begins = np.arange(0.0, length, 2 * dash)
    ends = np.minimum(begins + dash, length)
    return [
        start + (stop - start) * np.array([[a], [b]]) / length
        for a, b in zip(begins, ends, strict=True)
    ]
