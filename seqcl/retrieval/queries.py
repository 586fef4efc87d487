"""Queries: what is looked for, as unit vectors of windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seqcl.batch import Axes
from seqcl.data.dataset import Dataset
from seqcl.data.source import Skipped
from seqcl.errors import DataError, UsageError
from seqcl.files import sha256
from seqcl.retrieval.alignment import Cut
from seqcl.retrieval.folder import IndexSettings
from seqcl.retrieval.shards import unit_vectors
from seqcl.retrieval.speeds import stretched

__all__ = ["Embedder", "Excerpt", "Query", "Source", "make_queries", "windows_at"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Span = tuple[int, int]
Source = str | Path | npt.NDArray[np.floating] | Dataset
"""A file, folder or glob, one recording as an array (C, T), or what `Embedder.open` gave."""

_MOST_WINDOWS = 256
_AT_ONCE = 1_024
"""Windows of an excerpt that are held at once, which overlap."""


class Embedder(Protocol):
    """The run that an index was made with, as far as queries need it."""

    @property
    def layout(self) -> Axes:
        """Axes of its records: series and sounds, or images."""
        ...

    def open(self, source: str, most_steps: int | None = None) -> Dataset:
        """Open whole recordings, their channels matched to the run's.

        Raises DataError for one of more than `most_steps`, before it is decoded.
        """
        ...

    def from_arrays(self, arrays: Sequence[npt.NDArray[np.floating]]) -> Dataset:
        """Return a dataset of arrays (C, T_i)."""
        ...

    def embed(self, dataset: Dataset) -> Floats:
        """Embed every record, (N, E); a record has the same bits in any dataset."""
        ...


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of each query: seconds, or steps where the rate is not known."""

    at: float = 0.0
    length: float | None = None
    """None = to the end."""


@dataclass(frozen=True)
class Query:
    """One recording, or an excerpt of it, as m windows."""

    name: str
    cuts: tuple[Cut, ...]
    """Its windows, at each speed that it may be played at, as it is first."""
    first: int
    """Step of the recording at which the query begins."""
    steps: int
    rate_hz: float | None
    sha256: str | None
    """Of the file that holds it, or None."""

    @property
    def vectors(self) -> Floats:
        """(m, E) unit vectors of its windows as it is."""
        return self.cuts[0].vectors

    @property
    def starts(self) -> Ints:
        """(m,) first step of each of them, from where the query begins."""
        return self.cuts[0].starts


def make_queries(
    embedder: Embedder,
    source: Source,
    settings: IndexSettings,
    *,
    excerpt: Excerpt | None = None,
    hop: int | None = None,
    speeds: Sequence[float] = (1.0,),
) -> list[Query]:
    """Open and embed a source: one query for each recording in it.

    Without an excerpt and with the index's own hop, a recording's vectors are, bit for bit, those
    of the index that holds it. With a finer `hop` it is cut at each of `speeds`, 1 first, at which
    it holds a window.

    A recording that is shorter than a window of the index, or in which the excerpt does not lie,
    is left out and added to the dataset's `skipped`, unless all are: then the first is an error.

    Raises:
        DataError: every query is too short; an array without a value, or with an infinite one.
        UsageError: an excerpt that lies outside every recording.
    """
    if isinstance(source, Dataset):
        dataset = source
    elif isinstance(source, np.ndarray):
        dataset = _of_array(embedder, source)
    else:
        dataset = embedder.open(str(source))
    known = dataset.recordings
    digests = {
        place: sha256(file.path) if file.path.is_file() else None
        for place, file in enumerate(known.files)
    }
    spans = _usable(dataset, excerpt, settings)
    if hop is not None and settings.window is not None:
        cuts = [
            _cuts(
                embedder,
                dataset.excerpt(place, *span).values,
                known.ids[place],
                settings,
                hop,
                speeds,
            )
            for place, span in spans.items()
        ]
    else:
        whole = excerpt is None and len(spans) == len(known)
        embedded = _wholes if whole else _excerpts
        cuts = [(cut,) for cut in embedded(embedder, dataset, spans, settings)]
    return [
        Query(
            known.ids[place], own, first, stop - first, known.rate(place),
            digests.get(int(known.file[place])),
        )
        for own, (place, (first, stop)) in zip(cuts, spans.items(), strict=True)
    ]  # fmt: skip


def windows_at(
    values: Floats, speed: float, window: int, hop: int, coarsest: int
) -> tuple[list[Floats], Ints]:
    """Return the windows of (C, T), each (C, window), and their starts, brought to speed 1.

    `hop` apart; where they would be more than 256, farther, but not more than `coarsest`.
    """
    values = values if speed == 1 else stretched(values, speed)
    last = values.shape[-1] - window
    times = -(-(last // hop + 1) // _MOST_WINDOWS)
    hop = max(hop, min(hop * times, coarsest))
    starts = np.arange(0, last + 1, hop)
    return [values[:, start : start + window] for start in starts.tolist()], starts


def _cuts(
    embedder: Embedder,
    values: Floats,
    name: str,
    settings: IndexSettings,
    hop: int,
    speeds: Sequence[float],
) -> tuple[Cut, ...]:
    """Return a query (C, T) at each speed at which it holds a window."""
    assert settings.window is not None
    coarsest = settings.hop or settings.window
    found = []
    for speed in speeds:
        windows, starts = windows_at(values, speed, settings.window, hop, coarsest)
        if windows:
            vectors = embedder.embed(embedder.from_arrays(windows))
            found.append(Cut(unit_vectors(vectors, [name] * len(windows)), starts, speed))
    return tuple(found)


def _wholes(
    embedder: Embedder, dataset: Dataset, spans: Mapping[int, Span], settings: IndexSettings
) -> list[Cut]:
    """Return the windows of whole recordings, those that an index of them has."""
    window, hop = settings.window, settings.hop
    if window is None or hop is None:
        starts = [np.zeros(1, np.int64) for _ in spans]
    else:
        dataset = dataset.windowed(window, hop)
        where = dataset.spans
        starts = [where.start[where.recording == place] for place in range(len(spans))]
    vectors = unit_vectors(embedder.embed(dataset), dataset.ids)
    ends = np.cumsum([len(part) for part in starts])[:-1]
    return [Cut(*pair) for pair in zip(np.split(vectors, ends), starts, strict=True)]


def _excerpts(
    embedder: Embedder, dataset: Dataset, spans: Mapping[int, Span], settings: IndexSettings
) -> list[Cut]:
    """Return the windows of a part of some recordings, the last of them at its end."""
    begins = [_begins(span, settings) for span in spans.values()]
    windows = [
        (place, begin, begin + (settings.window or span[1] - span[0]))
        for (place, span), own in zip(spans.items(), begins, strict=True)
        for begin in own.tolist()
    ]
    at_once = 1 if settings.window is None else _AT_ONCE
    vectors = []
    for first in range(0, len(windows), at_once):
        block = windows[first : first + at_once]
        values = [dataset.excerpt(*window).values for window in block]
        names = [dataset.recordings.ids[place] for place, _, _ in block]
        vectors.append(unit_vectors(embedder.embed(embedder.from_arrays(values)), names))
    ends = np.cumsum([len(own) for own in begins])[:-1]
    return [
        Cut(found, own - own[0])
        for found, own in zip(np.split(np.concatenate(vectors), ends), begins, strict=True)
    ]


def _begins(span: Span, settings: IndexSettings) -> Ints:
    """Return the first step of each window of a part."""
    first, stop = span
    length = settings.window or stop - first
    begins = np.arange(first, stop - length + 1, settings.hop or length)
    return np.unique([*begins.tolist(), stop - length])


def _of_array(embedder: Embedder, values: npt.NDArray[np.floating]) -> Dataset:
    """Return the dataset of one array; raises DataError where no query can be made of it."""
    dataset = embedder.from_arrays([values])
    known = dataset.recordings
    found, name = dataset.excerpt(0, 0, int(known.lengths[0])).values, known.ids[0]
    if np.isinf(found).any():
        raise DataError(
            f"{name}: holds a value that is infinite, or beyond float32; correct it or make it NaN"
        )
    if np.isnan(found).all():
        raise DataError(f"{name}: has no step with a value; drop it or fill it")
    return dataset


def _usable(dataset: Dataset, excerpt: Excerpt | None, settings: IndexSettings) -> dict[int, Span]:
    """Return the part to look for of each recording by its place; notes those that have none.

    Raises the first fault where there is no other recording.
    """
    known = dataset.recordings
    spans: dict[int, Span] = {}
    faults: list[DataError | UsageError] = []
    skipped = list(dataset.skipped)
    for place in range(len(known)):
        try:
            first, stop = _span(dataset, place, excerpt)
            _check_length(known.ids[place], stop - first, known.rate(place), settings)
        except (DataError, UsageError) as error:
            faults.append(error)
            skipped.append(Skipped(known.ids[place], str(error)))
        else:
            spans[place] = first, stop
    dataset.skipped = tuple(dict.fromkeys(skipped))
    if faults and not spans:
        raise faults[0]
    return spans


def _span(dataset: Dataset, place: int, excerpt: Excerpt | None) -> Span:
    """Return first and last step of the part that is asked for."""
    known = dataset.recordings
    steps, rate = int(known.lengths[place]), known.rate(place)
    if excerpt is None:
        return 0, steps
    if dataset.size is not None:
        raise UsageError(f"{known.ids[place]}: an image has no excerpt; leave out --at and --for")
    unit = rate or 1.0
    end = steps / unit if excerpt.length is None else excerpt.at + excerpt.length
    first = stop = 0
    if math.isfinite(excerpt.at * unit) and math.isfinite(end * unit):
        first = round(excerpt.at * unit)
        stop = steps if excerpt.length is None else first + round(excerpt.length * unit)
    if not 0 <= first < stop <= steps:
        asked = f"{excerpt.at:.10g} to {'its end' if excerpt.length is None else f'{end:.10g}'}"
        raise UsageError(
            f"{known.ids[place]}: has {steps / unit:.10g} {'s' if rate else 'steps'}, asked for "
            f"{asked}; choose --at and --for inside it"
        )
    return first, stop


def _check_length(name: str, steps: int, rate_hz: float | None, settings: IndexSettings) -> None:
    window = settings.window
    if window is not None and steps < window:
        unit, text = (rate_hz, "s") if rate_hz else (1.0, "steps")
        raise DataError(
            f"{name}: has {steps / unit:.10g} {text} and an entry of the index has "
            f"{window / unit:.10g}; give a longer query"
        )
