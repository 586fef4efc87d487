"""Reader: one file format, scanned cheaply and read window by window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from seqcl.batch import Axes, Entry, Label, Record, Size

__all__ = ["Colour", "Columns", "Reader", "default_channels", "observed_lengths"]


Colour = Literal["rgb", "grey", "as_it_is"]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a reader must pick from a file: columns, one of its splits, the form of its values."""

    values: tuple[str, ...] | None = None
    """Channel names to keep, in this order; None = every numeric column."""
    time: str | None = None
    every_ns: int | None = None
    """Length of the intervals that rows with time stamps are brought to; None = as they are."""
    sensor: str | None = None
    """Column of channel names in long form, where `value` is that of values."""
    value: str | None = None
    label: str | None = None
    group: str | None = None
    pair: str | None = None
    delimiter: str | None = None
    """One character between fields; None = found from the first lines."""
    split: str | None = None
    """Which split of a file that holds several; None = all of them."""
    splits: str | None = None
    """Column of ``labels.csv`` that names the split of each file; None = ``split``."""
    rate_hz: int | None = None
    """Sampling rate that audio is brought to; None = the file's own."""
    mono: bool = True
    """Whether the channels of audio files are averaged."""
    cache: str | None = None
    """Folder of decoded audio; None = no cache."""
    size: Size | None = None
    """Height and width that images are resized to; None = as they are."""
    colour: Colour = "rgb"
    """Channels of image files; arrays keep their own."""


class Reader(ABC):
    """Reads files of one format; an instance may cache what it opened, never what it pickles.

    A subclass names its `suffixes` (lower case, with the dot, e.g. ``(".csv", ".csv.gz")``). Ids
    begin with the file's name: ``name`` for a file of one recording, ``name#row`` for several.
    What a user should know of the files goes to `notes`, a sentence each, while they are scanned.
    Values are float32 with NaN where missing; an infinity is the reader's to refuse or to keep
    (`Scaler.fit` refuses it, naming the record).
    """

    kind: ClassVar[str] = "readers"
    modality: ClassVar[str] = "sequence"
    """Which modality its files are of, where they can be of one only."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    lazy: ClassVar[bool] = False
    """True where `read` costs what the window holds, not what the file holds (it seeks).

    Recordings of other readers are read once and kept in memory as long as they fit.
    """
    layouts: ClassVar[tuple[Axes, ...]] = ("CT",)
    """What it reads: series, images (each read whole, from 0 to H * W), or both."""
    has_splits: ClassVar[bool] = False
    """Whether a file may hold several splits, of which ``columns.split`` names one."""
    has_columns: ClassVar[bool] = True
    """Whether a file itself may hold labels and groups, under the names that are asked for."""
    decodes: ClassVar[bool] = False
    """True where a read costs a decoding, and damage shows in no header.

    Recordings are then read once when they are opened, and kept in memory if they fit.
    """

    def __init__(self, columns: Columns = Columns()) -> None:
        self.columns = columns
        self.notes: list[str] = []

    @abstractmethod
    def scan(self, path: Path) -> Iterable[Entry]:
        """Find the recordings of one file, cheaply.

        Raises DataError(``path:line: reason``) where the file is not what it should be; a lazy
        reader raises it before the first entry.
        """

    @abstractmethod
    def read(self, entry: Entry, start: int, stop: int) -> Record:
        """Read steps `start` to `stop` of a recording: ``values`` (C, stop - start).

        An image is read whole: ``values`` (C, H, W).
        """

    def remarks(self) -> list[str]:
        """Return `notes`, and what a reader can say only once recordings have been read."""
        return self.notes

    def labels(self, entry: Entry, windows: Sequence[tuple[int, int]]) -> Sequence[Label | None]:
        """Return one label for each (start, stop) window of a recording.

        A format with a label per step overrides this; the base gives the recording's label.
        """
        return [entry.label] * len(windows)


def default_channels(count: int) -> tuple[str, ...]:
    """Return the names of channels that a file does not name: ``("c0", "c1", ...)``."""
    return tuple(f"c{index}" for index in range(count))


def observed_lengths(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the steps of each series before its padding, (n,), for `values` (n, C, T).

    Padding is what a rectangular array of series of unequal length ends with: steps at which
    every channel is NaN. A series with nothing observed has length 0.
    """
    observed = ~np.isnan(values).all(axis=1)  # (n, T)
    steps = observed.shape[1]
    if not steps:
        return np.zeros(len(values), np.int64)
    last = steps - np.argmax(observed[:, ::-1], axis=1)
    return np.where(observed.any(axis=1), last, 0).astype(np.int64)
