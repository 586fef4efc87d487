"""DataOptions: the ``data:`` section of a preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BeforeValidator

from seqcl.batch import Axes
from seqcl.data.duration import duration_ns
from seqcl.data.reader import Colour, Columns

__all__ = ["DataOptions", "Missing", "Scaling"]

Missing = Literal["zero", "hold", "indicator"]
Scaling = Literal["none", "channel", "record"]


def _text(given: object) -> object:
    """Return a number, which lacks its unit, as text, so that the units are told."""
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return f"{given}" if is_number else given


Duration = Annotated[str, BeforeValidator(_text)]
"""See `seqcl.data.duration`."""


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How files become records: which columns, which windows, which treatment of gaps.

    Raises ValueError where two options contradict each other.
    """

    layout: Axes | None = None
    """`CT`: series; `CHW`: images; None = what the files hold. Presets take it from their
    modality."""
    reader: str | None = None
    """Name of a reader; None = by the file's suffix."""
    columns: tuple[str, ...] | None = None
    """Channels to keep, in this order; None = every numeric column."""
    time: str | None = None
    """Column of time stamps."""
    every: Duration | None = None
    """Length of the intervals of a regular grid that rows with time stamps are brought to, such as
    ``500ms``, ``10s``, ``5min``, ``1h`` or ``1d``: an interval has the mean of its rows, channel
    by channel, and is missing where it has none; None = rows as they are."""
    sensor: str | None = None
    """Column of sensors' names in a table in long form, which has one value of one sensor in each
    row; `columns` then chooses sensors."""
    value: str | None = None
    """Column of values beside `sensor`; None = the only other one of numbers."""
    label: str | None = None
    """Column of labels."""
    group: str | None = None
    """Column of groups (subject, machine, recording) that a split never divides."""
    pair: str | None = None
    """Column of pair marks: two records that share one are alike, or different where it begins
    with an exclamation mark."""
    split: str | None = None
    """Column of ``labels.csv`` that names the split of each file; None = ``split``."""
    delimiter: str | None = None
    """Character between the fields of a text table; None = found from its first lines."""
    window: Annotated[int, Gt(0)] | None = None
    """Steps of a window; None = whole recordings, of at most `max_steps`."""
    hop: Annotated[int, Gt(0)] | None = None
    """Steps from one window to the next; None = `window`."""
    max_steps: Annotated[int, Gt(0)] = 16_384
    """Longest recording that is taken whole; above it `window` must be set."""
    missing: Missing = "zero"
    """`zero`: the channel's mean after scaling, and steps without any value are left out;
    `hold`: the last observed value; `indicator`: zero, and one more channel for each, 1 where
    missing."""
    scaler: Scaling = "channel"
    """`channel`: statistics of the training data; `record`: of each record; `none`."""
    size: tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]] | None = None
    """Height and width that images are resized to, keeping their proportions and cutting what
    stands out on the longer side; None = they are of one size already."""
    colour: Colour = "rgb"
    """Channels of image files: red, green and blue; grey; or the file's own. Arrays keep theirs."""
    rate_hz: Annotated[int, Gt(0)] | None = None
    """Samples a second that audio files are resampled to; None = their own."""
    mono: bool = True
    """Whether the channels of audio files are averaged; where not, they are c0, c1, ..."""
    cache: str | None = None
    """Folder in which decoded and resampled audio is kept, 2 bytes a sample; None = nowhere."""
    max_skipped: Annotated[float, Ge(0), Le(1)] = 0.05
    """Part of the files that may be unreadable before it is an error."""

    def __post_init__(self) -> None:
        if self.every is not None:
            try:
                duration_ns(self.every)
            except ValueError as error:
                raise ValueError(f"every={error}") from None
        if self.value is not None and self.sensor is None:
            raise ValueError(
                f"value={self.value} belongs to long form; set data.sensor too, or drop data.value"
            )
        if self.hop is not None and self.window is None:
            raise ValueError(
                f"hop={self.hop} has no window to move; set data.window too, or drop data.hop"
            )
        if self.layout == "CHW" and self.window is not None:
            raise ValueError(
                f"window={self.window} cuts series into steps and these are images; drop "
                "data.window, and use data.size to resize them"
            )
        if self.layout == "CHW" and self.missing != "zero":
            raise ValueError(
                f"missing={self.missing}: an image has no missing values; drop data.missing"
            )
        if self.layout == "CHW" and self.cache is not None:
            raise ValueError(
                f"cache={self.cache}: keeps decoded audio, and these are images; drop data.cache "
                "(images are kept in memory while they fit)"
            )

    @property
    def selection(self) -> Columns:
        """What a reader must pick."""
        return Columns(
            values=self.columns,
            time=self.time,
            every_ns=None if self.every is None else duration_ns(self.every),
            sensor=self.sensor,
            value=self.value,
            label=self.label,
            group=self.group,
            pair=self.pair,
            delimiter=self.delimiter,
            splits=self.split,
            size=self.size,
            colour=self.colour,
            rate_hz=self.rate_hz,
            mono=self.mono,
            cache=self.cache,
        )
