"""The embedding map for the page's script: places, class codes, ids and thumbnails."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.batch import Label
from seqcl.report.content import Scatter
from seqcl.report.markup import clean
from seqcl.report.thumbnails import picture, thumbnail

__all__ = ["MAX_POINTS", "map_payload"]

MAX_POINTS = 2000
_GRID = 4095
_UNLABELLED = "unlabelled"


def map_payload(scatter: Scatter) -> dict[str, Any]:
    """Return the drawn points as parallel lists, with the classes of all records.

    `x` and `y` are integers from 0 to 4,095, each axis stretched to fill its range; `lost` counts
    the records without finite coordinates.
    """
    names = [_label_text(label) for label in scatter.labels or ()]
    counts = Counter(names)
    classes = sorted(counts, key=_natural)
    code = {name: index for index, name in enumerate(classes)}
    codes = np.array([code[name] for name in names], dtype=np.int64)
    finite = np.flatnonzero(np.isfinite(scatter.points).all(axis=1))
    drawn = _drawn(finite, codes)
    places = _places(scatter.points[drawn])
    return {
        "classes": classes,
        "counts": [counts[name] for name in classes],
        "channels": [clean(name) for name in scatter.channels],
        "total": len(scatter.ids),
        "lost": len(scatter.ids) - len(finite),
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "label": codes[drawn].tolist() if names else [],
        "id": [clean(scatter.ids[row]) for row in drawn],
        **_thumbnails(scatter, drawn),
    }


def _thumbnails(scatter: Scatter, drawn: list[int]) -> dict[str, list[Any]]:
    """Return the records that are drawn in short, as `series` or as `pictures`."""
    found: dict[str, list[Any]] = {"series": [], "pictures": []}
    records = scatter.series
    if records is None:
        return found
    for row in drawn:
        values = records[row]
        if np.ndim(values) == 3:
            found["pictures"].append(picture(values))
        else:
            found["series"].append(thumbnail(values))
    return found


def _label_text(label: Label | None) -> str:
    if label is None:
        return _UNLABELLED
    return clean(" + ".join(label) if isinstance(label, tuple) else str(label))


def _natural(name: str) -> tuple[int, float, list[str | int]]:
    """Sort numbers before words, `walk 2` before `walk 10`, the unlabelled last."""
    if name == _UNLABELLED:
        return 2, 0.0, []
    try:
        value = float(name)
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return 0, value, []
    parts = re.split(r"([0-9]+)", name)  # words and digits take turns, so like meets like
    return 1, 0.0, [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _drawn(rows: npt.NDArray[np.int64], codes: npt.NDArray[np.int64]) -> list[int]:
    """Choose at most 2,000 rows, each class in proportion, in an order that mixes the classes."""
    if len(rows) > MAX_POINTS:
        by_class = rows[np.argsort(codes[rows], kind="stable")] if len(codes) else rows
        rows = by_class[np.linspace(0, len(rows) - 1, MAX_POINTS).astype(np.int64)]
    return [int(row) for row in np.random.default_rng(0).permutation(rows)]


def _places(points: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Scale each coordinate to the grid; a coordinate without spread is put in the middle."""
    if len(points) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    low, high = points.min(axis=0), points.max(axis=0)
    spread = np.where(high > low, high - low, 1.0)
    places = np.where(high > low, (points - low) / spread, 0.5) * _GRID
    return np.asarray(places.round().astype(np.int64))
