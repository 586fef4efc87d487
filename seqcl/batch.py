"""What travels: Record and Entry from readers, Batch to encoders, Encoded and Embeddings out.

Axes: B records, C channels, T steps, D features, T' = ceil(T / stride).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = [
    "Axes",
    "Batch",
    "Embeddings",
    "Encoded",
    "Entry",
    "Label",
    "Record",
    "Size",
    "may_be_read",
    "sorted_labels",
]

Label = int | str | float | tuple[str, ...]
Axes = Literal["CT", "CHW"]
"""Axes of a record: channels and steps, or channels, height and width (an image)."""
Size = tuple[int, int]
"""Height and width of an image."""
Floats = npt.NDArray[np.float32]


def sorted_labels(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Return the distinct labels: numbers by value, then texts, then lists of tags."""

    def place(label: Label) -> tuple[int, Label]:
        return isinstance(label, str) + 2 * isinstance(label, tuple), label

    return tuple(sorted(set(labels), key=place))


@dataclass(frozen=True, slots=True)
class Entry:
    """One recording that a reader can read, found without reading its values.

    `key` is what the reader needs to find it again inside `path`; `length` is in steps, those of
    an image being its H * W pixels in row-major order.
    """

    path: Path
    id: str
    length: int
    channels: tuple[str, ...]
    rate_hz: float | None = None
    label: Label | None = None
    group: str | None = None
    key: str | int | None = None
    named: bool = False
    """True where the file itself names its channels (a CSV header), so they match by name."""
    pair: str | None = None
    """The mark that it shares with another recording, see `Record.pair`."""
    size: Size | None = None
    """Height and width of an image; None = a series."""

    def record(self, values: Floats, start: int = 0, **more: Any) -> Record:
        """Return its values from step `start` on as a Record, with all that is known of it."""
        return Record(
            values=values,
            id=self.id,
            label=self.label,
            group=self.group,
            pair=self.pair,
            channels=self.channels,
            rate_hz=self.rate_hz,
            start=start,
            **more,
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One recording, or one window of it, as numpy arrays on the host."""

    values: Floats
    """(C, T) float32, NaN = missing; or an image (C, H, W), whose values lie in [0, 1]."""
    id: str
    label: Label | None = None
    group: str | None = None
    channels: tuple[str, ...] | None = None
    rate_hz: float | None = None
    times: npt.NDArray[np.int64] | None = None
    """(T,) nanoseconds since 1970."""
    start: int = 0
    """First step of this window in its recording."""
    step_labels: npt.NDArray[np.int64] | None = None
    tokens: npt.NDArray[np.int64] | None = None
    pair: str | None = None
    """A mark that two records share: they are alike, or different where it begins with ``!``."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one step, on one device; a view is a Batch too."""

    values: Tensor
    """(B, C, T) or (B, C, H, W); padding 0, gaps as the treatment of missing values says."""
    ids: Tensor
    """(B,) row in the dataset."""
    groups: Tensor | None = None
    """(B,) group number; a window of a recording without a group has its recording's."""
    lengths: Tensor | None = None
    """(B,) steps before padding; None = all T."""
    host_lengths: tuple[int, ...] | None = None
    """The same on the host, so that packing and shapes need no sync."""
    mask: Tensor | None = None
    """(B, T) True = real step; where gaps are filled with zeros, of which at least one channel was
    observed. None = all True."""
    labels: Tensor | None = None
    pairs: Tensor | None = None
    """(B,) number of the record's pair: above 0 where the two are alike, below 0 where they are
    different, 0 where it has no mark."""
    start: Tensor | None = None
    """(B,) first step of the window in its recording."""
    recordings: Tensor | None = None
    """(B,) number of the recording that the window was cut from; None where records are whole."""
    repeated: bool = False
    """Whether the batch, that of all processes, may hold a record more than once."""
    offset: int | None = None
    """Steps from where a first view begins to where this one does, on the host, in a record as
    long as the batch; None = unknown there."""
    tokens: Tensor | None = None
    rate_hz: float | None = None
    norms: Tensor | None = None
    """(B, 2, F) mean and deviation of each feature in the record's group, for a front end that
    normalises by group; NaN, or None, = the record is a group of its own."""
    indicators: int = 0
    """How many of the last channels say where values were missing (1) instead of holding any."""

    def __len__(self) -> int:
        return self.values.shape[0]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`, copied without blocking."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def __getitem__(self, rows: slice) -> Batch:
        """Return consecutive records of the batch."""
        part = self._map(lambda tensor: tensor[rows])
        host = None if self.host_lengths is None else self.host_lengths[rows]
        return replace(part, host_lengths=host)

    def with_values(self, values: Tensor, **changes: Any) -> Batch:
        """Return the same records with other values (and other fields by keyword)."""
        return replace(self, values=values, **changes)

    def _map(self, function: Any) -> Batch:
        changes = {
            item.name: function(value)
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), Tensor)
        }
        return replace(self, **changes)

    @staticmethod
    def cat(batches: tuple[Batch, ...]) -> Batch:
        """Join batches of equal shape along B.

        A batch without mask or lengths is whole where others have them; any other field must be
        present in all or in none.
        """
        joined: dict[str, Any] = {}
        for item in fields(batches[0]):
            parts = [getattr(batch, item.name) for batch in batches]
            if item.name in _WHOLE and any(part is not None for part in parts):
                whole = _WHOLE[item.name]
                parts = [
                    whole(batch) if part is None else part
                    for part, batch in zip(parts, batches, strict=True)
                ]
            if isinstance(parts[0], Tensor):
                joined[item.name] = torch.cat(parts)
            elif isinstance(parts[0], tuple):
                joined[item.name] = tuple(chain.from_iterable(parts))
        return replace(batches[0], **joined)


_WHOLE: dict[str, Callable[[Batch], Any]] = {
    "mask": lambda batch: torch.ones_like(batch.values[:, 0], dtype=torch.bool),
    "lengths": lambda batch: batch.ids.new_full((len(batch),), batch.values.shape[-1]),
    "host_lengths": lambda batch: (batch.values.shape[-1],) * len(batch),
}
"""What a batch says that leaves a field out: every step is real."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder gives for one view."""

    pooled: Tensor
    """(B, out_dim)."""
    local: Tensor | None
    """(B, local_dim, T') where it was asked for."""
    mask: Tensor | None
    """(B, T') of real local steps; None = all True."""
    view: Batch
    """The view that was encoded: an objective may read its ids, labels, groups and lengths."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Embedded records with what is known of them, on the host."""

    values: Floats
    """(N, E), or (S, E) for the steps of all records at step level."""
    ids: tuple[str, ...]
    """(N,) stable record ids."""
    labels: tuple[Label | None, ...] | None = None
    groups: tuple[str | None, ...] | None = None
    start: npt.NDArray[np.int64] | None = None
    step_labels: npt.NDArray[np.int64] | None = None
    lengths: npt.NDArray[np.int64] | None = None
    """(N,) rows of `values` that belong to each record, at step level; None at instance level."""
    info: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


def may_be_read(values: Tensor) -> bool:
    """Return whether reading the tensor, to pick rows, stalls nothing: it is on the host."""
    return values.device.type == "cpu"
