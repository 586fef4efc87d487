"""What a report shows: plain values, each part optional, absent from the page when empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.batch import Label

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
]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval: ``Estimate(0.865, 0.842, 0.887)``."""

    value: float
    low: float
    high: float


Cell = str | int | float | Estimate | None
"""One value of a table; None is shown as an en dash."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table."""

    name: str
    """First column: the system, class or task."""
    cells: tuple[Cell, ...]
    """The other columns, in the order of the header."""
    control: bool = False
    """True for a baseline or untrained encoder: drawn muted, so that our rows stand out."""
    note: str = ""
    """Small print under the name, for example why a control does not apply."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with named rows; columns that hold Estimates get interval bars."""

    title: str
    header: tuple[str, ...]
    """Names of all columns, that of the row names first."""
    rows: tuple[Row, ...]
    note: str = ""
    """One sentence under the table: the protocol, the seeds, what the interval is."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) + 1 != len(self.header):
                raise ValueError(
                    f"table {self.title!r}: row {row.name!r} has {len(row.cells)} cells; "
                    f"the header needs {len(self.header) - 1}"
                )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What training was worth, in one sentence, with the difference drawn against zero."""

    sentence: str
    difference: Estimate | None = None
    """Trained minus untrained, in the unit of the sentence."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart; `low` and `high` draw a band around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None

    def __post_init__(self) -> None:
        sizes = {len(part) for part in (self.x, self.y, self.low, self.high) if part is not None}
        if len(sizes) != 1 or (self.low is None) != (self.high is None):
            raise ValueError(f"line {self.name!r}: x, y, low and high differ in length")


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over a common axis, for example accuracy over labelled records per class."""

    title: str
    x_label: str
    lines: tuple[Line, ...]
    log_x: bool = False
    """Logarithmic horizontal axis; every x must be above 0."""
    zoom: str = ""
    """Charts of one name zoom together, by dragging, and keep more of a long line; x must rise."""
    note: str = ""

    def __post_init__(self) -> None:
        if self.log_x and any(x <= 0 for line in self.lines for x in line.x):
            raise ValueError(f"chart {self.title!r}: x must be above 0 on a logarithmic axis")


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often each true class was predicted as each class."""

    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    """(K, K) records: row = true class, column = predicted class."""

    def __post_init__(self) -> None:
        size = len(self.classes)
        if self.counts.shape != (size, size):
            raise ValueError(
                f"confusion: counts are {self.counts.shape} for {size} classes; "
                f"needed is ({size}, {size})"
            )


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """The embedding map: one point per record, at most 2,000 of them drawn."""

    points: npt.NDArray[Any]
    """(N, 2) coordinates; rows with NaN are left out, and the page says how many."""
    ids: Sequence[str]
    """(N,) record ids."""
    labels: Sequence[Label | None] | None = None
    """(N,) classes, which give colour and shape."""
    series: Sequence[npt.NDArray[Any]] | None = None
    """(N,) of (C, T) values, NaN = missing; up to 3 channels are shown on hover, in 64 values
    each. Or of images (C, H, W) in [0, 1], shown in 16 x 16 pixels. Only the records that are
    drawn are read, so a lazy sequence costs little."""
    channels: tuple[str, ...] = ()
    """Names of the channels of `series`."""
    method: str = "PCA"
    """How the coordinates were found; named in the caption."""

    def __post_init__(self) -> None:
        shape = (len(self.ids), 2)
        if self.points.shape != shape:
            raise ValueError(
                f"map: points are {self.points.shape} for {len(self.ids)} ids; needed is {shape}"
            )
        for name in ("labels", "series"):
            part = getattr(self, name)
            if part is not None and len(part) != len(self.ids):
                raise ValueError(f"map: {len(part)} {name} for {len(self.ids)} ids")


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything that a report page shows; only the title is needed."""

    title: str
    created: str = ""
    """When, as text, for example ``2025-06-01 14:30 UTC``."""
    command: str = ""
    """The command line that made the run."""
    preset: str = ""
    """The resolved preset as YAML."""
    facts: Mapping[str, Cell] = field(default_factory=dict)
    """Short figures by name: records, channels, parameters, device, seconds."""
    notes: tuple[str, ...] = ()
    """Warnings and skipped files, one sentence each."""
    comparisons: tuple[Comparison, ...] = ()
    """The headlines, one a task: what training changed, with its interval."""
    tables: tuple[Table, ...] = ()
    """Results by system, control rows included."""
    scatter: Scatter | None = None
    """The embedding map."""
    confusion: Confusion | None = None
    """The confusion matrix of the classification task."""
    few_labels: Chart | None = None
    """Accuracy over the number of labels, by system."""
    charts: tuple[Chart, ...] = ()
    """Lines over the rows of recordings, under a heading of their own."""
    curves: Sequence[Mapping[str, Any]] = ()
    """Flat metrics records, as in metrics.jsonl: `step` and any numbers, one chart per name, and
    histograms of cosines as lists, one chart of the first and the last."""
