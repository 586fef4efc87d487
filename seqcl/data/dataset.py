"""Dataset: records by row, whole recordings or windows of them, in memory or on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from seqcl.batch import Label, Record, Size
from seqcl.data import loading, opening
from seqcl.data.arrays import arrays_to_memory
from seqcl.data.channels import match_channels
from seqcl.data.compact import Mapped
from seqcl.data.options import DataOptions, Missing
from seqcl.data.reader import default_channels
from seqcl.data.recordings import Recordings
from seqcl.data.rows import Rows
from seqcl.data.source import Skipped
from seqcl.data.values import FileValues, Values
from seqcl.data.windows import Span, Windows

__all__ = ["Dataset", "dataset_from_arrays", "open_dataset"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_PIECE_STEPS = 4_096
_PIECE_VALUES = 1 << 18


class Dataset:
    """N records; what it holds grows with the number of recordings, not with N.

    Made by `open_dataset` and `dataset_from_arrays`.

    Attributes:
        channels: names of the C channels, in the order of `Record.values`.
        named: whether the files name their channels, so that others are matched by name.
        rate_hz: sampling rate, where the files tell it.
        size: height and width of the images; None = series.
        modality: of the files, where they can be of one only; else `sequence`.
        classes: sorted labels; label codes are places in it.
        missing: how gaps are to be filled (`DataOptions.missing`).
        skipped: files and recordings that were passed over.
        notes: what a user should know about these data, a sentence each.
    """

    def __init__(
        self,
        recordings: Recordings,
        windows: Windows,
        values: Values,
        *,
        channels: tuple[str, ...],
        named: bool,
        rate_hz: float | None = None,
        labels: tuple[tuple[Label, ...], Ints | None] | None = None,
        missing: Missing = "zero",
        skipped: Sequence[Skipped] = (),
        notes: Sequence[str] = (),
        size: Size | None = None,
        modality: str = "sequence",
    ) -> None:
        self.modality = modality
        self.channels, self.named, self.rate_hz, self.missing = channels, named, rate_hz, missing
        self.classes, self._window_labels = labels or (recordings.classes, None)
        self.skipped, self.notes, self.size = tuple(skipped), tuple(notes), size
        self._recordings, self._windows, self._values = recordings, windows, values
        self._rows: Ints | None = None

    def __len__(self) -> int:
        return len(self._windows) if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        return f"Dataset({len(self)} records, {len(self.channels)} channels)"

    @property
    def ids(self) -> Sequence[str]:
        """Stable ids, made on demand: the recording's, and ``@start`` for a window of it."""
        return Mapped(self._ids, len(self))

    @property
    def labels(self) -> Sequence[Label | None]:
        """Labels, made on demand."""
        return Mapped(self._labels, len(self))

    @property
    def groups(self) -> Sequence[str | None]:
        """Groups, made on demand."""
        return Mapped(self._groups, len(self))

    @property
    def label_codes(self) -> Ints:
        """(N,) places in `classes`, -1 = unknown."""
        return self._label_codes(self._all())

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups, in the order of their numbers."""
        return self._recordings.group_names

    @property
    def group_codes(self) -> Ints:
        """(N,) group numbers; a recording without a group has one of its own, after those."""
        return self._group_codes(self.spans.recording)

    @property
    def pair_codes(self) -> Ints:
        """(N,) pair numbers: 0 = no mark, below 0 = marked as different (`Record.pair`)."""
        return self._recordings.pair_codes[self.spans.recording]

    @property
    def lengths(self) -> Ints:
        """(N,) steps of each record."""
        return self.spans.length

    @property
    def spans(self) -> Span:
        """Where each row lies: its recording, first step and length, (N,) each."""
        return self._windows.locate(self._all())

    @property
    def max_length(self) -> int:
        """Steps of the longest record."""
        return self._windows.window or int(self.lengths.max(initial=0))

    @property
    def is_windowed(self) -> bool:
        """Whether rows are windows of recordings."""
        return self._windows.window is not None

    @property
    def recordings(self) -> Recordings:
        """The recordings that `spans` refers to."""
        return self._recordings

    @property
    def fingerprint(self) -> str:
        """Hash of all that is known of the records, and of their values or file sizes."""
        digest = hashlib.sha256(repr((self.channels, self.classes, self.rate_hz)).encode())
        digest.update(f"{self._windows.window} {self._windows.hop}".encode())
        if self.size is not None:
            digest.update(repr(self.size).encode())
        for part in (self._recordings.ids, self._recordings.lengths, self._recordings.labels):
            digest.update(bytes(part))
        for names, codes in (
            (self._recordings.group_names, self._recordings.groups),
            (self._recordings.pair_names, self._recordings.pairs),
        ):
            if names:
                digest.update(repr(names).encode() + codes.tobytes())
        for column in (self._window_labels, self._rows):
            digest.update(b"-" if column is None else column.tobytes())
        digest.update(self._values.digest())
        return digest.hexdigest()

    def note(self, text: str) -> None:
        """Add a sentence to `notes`."""
        self.notes = (*self.notes, text)

    def record(self, row: int) -> Record:
        """Return one record; raises IndexError beyond the last."""
        span = self._windows.locate(self._places([row]))
        start, length = int(span.start[0]), int(span.length[0])
        found = self.excerpt(int(span.recording[0]), start, start + length)
        return replace(found, id=self.ids[row], label=self.labels[row], group=self.groups[row])

    def excerpt(self, recording: int, start: int, stop: int) -> Record:
        """Return steps `start` to `stop` of a recording that `spans` refers to."""
        known = self._recordings
        record = self._values.record(recording, start, stop)
        values = record.values
        return replace(
            record,
            values=values if self.size is None else values.reshape(len(values), *self.size),
            id=known.ids[recording],
            label=known.label(recording),
            group=known.group(recording),
            pair=known.pair(recording),
            channels=self.channels,
            rate_hz=known.rate(recording),
            start=start,
        )

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return several records."""
        return [self.record(row) for row in rows]

    def gather(self, rows: Sequence[int] | Ints) -> Rows:
        """Return rows as arrays, without a loop where the values are in memory."""
        places = self._places(rows)
        span = self._windows.locate(places)
        known = self._recordings
        grouped = self.is_windowed or bool(known.group_names)
        return Rows(
            values=self._values.read(span),
            lengths=span.length,
            start=span.start if self.is_windowed else None,
            labels=self._label_codes(places) if self.classes else None,
            groups=self._group_codes(span.recording) if grouped else None,
            pairs=known.pair_codes[span.recording] if known.pair_names else None,
            recordings=span.recording if self.is_windowed else None,
            size=self.size,
        )

    def pieces(self) -> Iterator[tuple[Span, Floats]]:
        """Yield every step that some row covers once, as (B, C, T) blocks of bounded size.

        Images come whole, (B, C, H * W), since they are read whole. Shorter pieces end in NaN.
        For statistics, which overlapping windows must not weigh.
        """
        if self._rows is None:
            whole = Windows(self._recordings.lengths)
            covered = whole.locate(np.arange(len(whole)))
        else:
            covered = self._windows.locate(np.unique(self._rows)).joined()
        pieces = covered if self.size is not None else covered.cut(_PIECE_STEPS)
        at_once = max(1, _PIECE_VALUES // (int(pieces.length.max()) * len(self.channels)))
        for first in range(0, len(pieces), at_once):
            part = pieces[first : first + at_once]
            yield part, self._values.read(part)

    def subset(self, rows: Sequence[int] | Ints) -> Dataset:
        """Return the dataset of some rows; classes and their codes stay."""
        part = copy(self)
        part._rows = self._places(rows)
        return part

    def select(self, channels: Sequence[str]) -> Dataset:
        """Return the dataset with these channels in this order.

        Raises DataError that names missing and extra channels, or gives both numbers where the
        names are not the file's own.
        """
        where = self.ids[0] if len(self) else "empty dataset"
        places = match_channels(channels, self.channels, named=self.named, where=where)
        part = copy(self)
        part.channels = tuple(channels)
        if not np.array_equal(places, np.arange(len(self.channels))):
            part._values = self._values.select(places)
        return part

    def windowed(self, window: int, hop: int) -> Dataset:
        """Return the windows of these recordings, labelled as they are.

        Raises ValueError where a recording is shorter than a window.
        """
        part = copy(self)
        part._windows = Windows(self._recordings.lengths, window, hop)
        part._rows = part._window_labels = None
        part.classes = self._recordings.classes
        return part

    def _all(self) -> Ints:
        return np.arange(len(self._windows)) if self._rows is None else self._rows

    def _places(self, rows: Sequence[int] | Ints) -> Ints:
        """Translate rows of this dataset into windows of all recordings."""
        places = np.asarray(rows, dtype=np.int64)
        if len(places) and not 0 <= places.min() <= places.max() < len(self):
            raise IndexError(f"rows {places.min()} to {places.max()} of {len(self)} records")
        return places if self._rows is None else self._rows[places]

    def _ids(self, rows: Ints) -> list[str]:
        span = self._windows.locate(self._places(rows))
        names = [self._recordings.ids[recording] for recording in span.recording.tolist()]
        if not self.is_windowed:
            return names
        return [f"{name}@{start}" for name, start in zip(names, span.start.tolist(), strict=True)]

    def _labels(self, rows: Ints) -> list[Label | None]:
        table = (*self.classes, None)
        return [table[code] for code in self._label_codes(self._places(rows)).tolist()]

    def _groups(self, rows: Ints) -> list[str | None]:
        table = (*self._recordings.group_names, None)
        recording = self._windows.locate(self._places(rows)).recording
        return [table[code] for code in self._recordings.groups[recording].tolist()]

    def _label_codes(self, places: Ints) -> Ints:
        if self._window_labels is not None:
            return self._window_labels[places]
        return self._recordings.labels[self._windows.locate(places).recording]

    def _group_codes(self, recording: Ints) -> Ints:
        codes = self._recordings.groups[recording]
        return np.where(codes < 0, len(self._recordings.group_names) + recording, codes)


def open_dataset(
    sources: Sequence[str],
    options: DataOptions,
    *,
    extra_steps: int = 0,
    channels: tuple[str, ...] | None = None,
) -> Dataset:
    """Open files, folders, globs and ``scheme:name`` sources as one dataset.

    Recordings of files that can be read window by window stay on disk; others are read once and
    kept in memory, up to `opening.MEMORY_LIMIT` bytes.

    Args:
        sources: what the user gave as ``--data``.
        options: columns, windows, treatment of gaps.
        extra_steps: how much longer than `options.window` each row is (neighbouring windows).
        channels: channels of the model, matched by name; None = those of the first recording.

    Raises:
        MissingInputError: a path does not exist or may not be read.
        DataError: nothing to read; too many files or recordings skipped; channels or sampling
            rates that differ; a recording too long to be taken whole.
        ArtefactError: a file that is unsafe to open.
    """
    recordings, skipped = opening.scan(sources, options)
    recordings, short = opening.drop_short(recordings, options, extra_steps)
    rate = opening.common_rate(recordings)
    size = opening.common_size(recordings, options.layout)
    names, named, places = opening.place_channels(recordings, channels or options.columns)
    files = FileValues(recordings, places)
    values: Values = files
    in_memory = loading.fits_in_memory(recordings, len(names))
    found = recordings
    unread: list[Skipped] = []
    if in_memory:
        recordings, values, unread = loading.load(recordings, files, len(names))
    elif size is not None or loading.must_be_tried(recordings):
        recordings, unread = loading.drop_unreadable(recordings, files)
        values = FileValues(recordings, places)
    if unread:  # the files that the scan left out count with them
        skipped += unread
        opening.check_skipped(skipped, len(recordings), options, "recordings cannot be read")
    notes = loading.reader_notes(found, in_memory)
    window = None if options.window is None else options.window + extra_steps
    windows = Windows(recordings.lengths, window, options.hop or options.window)
    labels = opening.window_labels(recordings, windows)
    return Dataset(
        loading.without_readers(recordings) if in_memory else recordings,
        windows,
        values,
        channels=names,
        named=named,
        rate_hz=rate,
        labels=labels,
        missing=options.missing,
        skipped=skipped + short,
        notes=notes,
        size=size,
        modality=loading.modality_of(found),
    )


def dataset_from_arrays(
    X: npt.ArrayLike | Sequence[npt.ArrayLike],
    y: Sequence[Label | None] | npt.NDArray[np.generic] | None = None,
    groups: Sequence[object] | npt.NDArray[np.generic] | None = None,
    ids: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    *,
    missing: Missing = "zero",
    pairs: Sequence[str | None] | None = None,
) -> Dataset:
    """Make a dataset of arrays, which are copied.

    Args:
        X: (n, C, T), where steps at the end that are NaN in every channel are padding; (n, T)
            for one channel; or a list of n arrays (C, T_i). NaN = missing. Images are
            (n, C, H, W), see `seqcl.data.images.unit_images`.
        y: n labels; None, NaN or an empty text = unknown.
        groups: n groups that a split never divides; None = a group of its own.
        ids: n names; None = ``#0``, ``#1``, ...
        channels: C names; None = ``c0``, ``c1``, ..., matched by position.
        missing: how gaps are to be filled.
        pairs: n marks, each shared by two records that are alike, or different where it begins
            with ``!``; None = unmarked.

    Raises:
        DataError: no records, one without any observed value, or images beyond [0, 1].
        ValueError: sizes that do not fit together.
    """
    recordings, values, count = arrays_to_memory(X, y, groups, ids, pairs)
    if channels is not None and len(channels) != count:
        raise ValueError(f"{len(channels)} channel names for {count} channels")
    return Dataset(
        recordings,
        Windows(recordings.lengths),
        values,
        channels=default_channels(count) if channels is None else tuple(channels),
        named=channels is not None,
        missing=missing,
        size=recordings.layouts[0].size,
    )
