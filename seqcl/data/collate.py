"""Collate: records of one step to a Batch: scaled, padded, gaps filled, without a loop."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from seqcl.batch import Batch, Label, Record
from seqcl.data.dataset import Dataset
from seqcl.data.options import Missing
from seqcl.data.rows import Rows
from seqcl.data.scaler import Scaler

__all__ = ["Collate", "collate_rows"]

Ints = npt.NDArray[np.int64]


class Collate:
    """Makes batches on the CPU, the same for training, embedding and export.

    Values are scaled, then padded at the end with 0, then gaps are filled: `zero` (the mean,
    where a scaler ran), `hold` (the last observed value, before the first one the next; 0 where
    a record has none), `indicator` (zero, and C more channels that are 1 where missing).
    A step that is missing in every channel is masked out by `zero`; by the others it is as real
    as any, since what they put there says something.
    A batch of equal lengths has no `lengths`; one without a masked step has no `mask`. Images
    have neither, and become (B, C, H, W).

    Args:
        scaler: fitted on training data; a copy is kept, so that the model's may move to a GPU.
        missing: how gaps are filled.
        pad_multiple: T is rounded up to a multiple of this, so that fewer shapes occur.
        norms: (G, 2, F) of a dataset's groups, see `Frontend.group_norms`.
    """

    def __init__(
        self,
        scaler: Scaler,
        missing: Missing = "zero",
        *,
        pad_multiple: int = 1,
        norms: Tensor | None = None,
    ) -> None:
        self.scaler = deepcopy(scaler).cpu()
        self.missing: Missing = missing
        self.pad_multiple = pad_multiple
        self.norms = norms

    def __call__(
        self,
        records: Sequence[Record],
        rows: Sequence[int] | None = None,
        classes: Sequence[Label] = (),
        groups: Sequence[str] = (),
        pairs: Sequence[str] = (),
    ) -> Batch:
        """Collate records that may come from anywhere, of any lengths.

        Args:
            records: B records of equal channels.
            rows: what `Batch.ids` says; None = 0 to B - 1.
            classes: labels whose places are the codes; () = no labels.
            groups: groups whose places are the numbers; () = no groups.
            pairs: marks whose places, from 1, are the numbers; () = no marks.
        """
        first = records[0].values
        parts = [record.values.reshape(len(first), -1) for record in records]
        lengths = np.array([part.shape[1] for part in parts], dtype=np.int64)
        shape = (len(records), len(first), int(lengths.max()))
        values = np.full(shape, np.nan, dtype=np.float32)
        for place, part in zip(values, parts, strict=True):
            place[:, : part.shape[1]] = part
        raw = Rows(
            values,
            lengths,
            np.array([record.start for record in records], dtype=np.int64),
            _codes([record.label for record in records], classes),
            _codes([record.group for record in records], groups),
            _pair_numbers([record.pair for record in records], pairs),
            first.shape[1:] if first.ndim == 3 else None,
        )
        ids = np.arange(len(records)) if rows is None else np.asarray(rows, dtype=np.int64)
        return self.batch(raw, ids, records[0].rate_hz)

    def batch(self, raw: Rows, ids: Ints, rate_hz: float | None = None, steps: int = 0) -> Batch:
        """Collate rows that a dataset gathered, padded to `steps` at least.

        `ids` (B,) become `Batch.ids`.
        """
        with torch.no_grad():
            scaled = self.scaler(_pad(torch.from_numpy(raw.values), steps, self.pad_multiple))
            lengths = torch.from_numpy(raw.lengths)
            values, mask = self._fill(scaled, lengths)
        padded = int(raw.lengths.min()) < values.shape[-1]
        if raw.size is not None:
            values = values.view(*values.shape[:2], *raw.size)  # (B, C, H, W)
        return Batch(
            values=values,
            ids=torch.from_numpy(ids),
            groups=_tensor(raw.groups),
            lengths=lengths if padded else None,
            host_lengths=tuple(raw.lengths.tolist()) if padded else None,
            mask=mask,
            labels=_tensor(raw.labels),
            pairs=_tensor(raw.pairs),
            start=_tensor(raw.start),
            recordings=_tensor(raw.recordings),
            rate_hz=rate_hz,
            norms=self._norms(raw.groups),
            indicators=raw.values.shape[1] if self.missing == "indicator" else 0,
        )

    def _norms(self, groups: Ints | None) -> Tensor | None:
        """Return each record's row of the table; NaN where it has no group in it."""
        if self.norms is None or groups is None:
            return None
        known = torch.from_numpy((groups >= 0) & (groups < len(self.norms)))
        found = self.norms[torch.from_numpy(groups) * known]
        return torch.where(known.view(-1, 1, 1), found, torch.nan)

    def _fill(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Fill NaN (gaps and padding); return values and mask (B, T), None = all True."""
        unknown = values.isnan()
        if self.missing != "indicator" and not bool(unknown.any()):
            return values, None
        real = torch.arange(values.shape[-1]) < lengths[:, None]  # (B, T)
        filled = values.masked_fill(unknown, 0.0)
        if self.missing == "indicator":
            filled = torch.cat((filled, (unknown & real[:, None]).to(filled)), dim=1)
        elif self.missing == "hold":
            filled = _hold(filled, ~unknown) * real[:, None]
        mask = ~unknown.all(dim=1) if self.missing == "zero" else real
        return filled, None if bool(mask.all()) else mask


def collate_rows(
    dataset: Dataset, rows: Sequence[int] | Ints, collate: Collate, steps: int = 0
) -> Batch:
    """Make the batch of some rows, padded to `steps` at least.

    Without a loop where the dataset is in memory.
    """
    ids = np.array(rows, dtype=np.int64)
    return collate.batch(dataset.gather(ids), ids, dataset.rate_hz, steps)


def _hold(filled: Tensor, observed: Tensor) -> Tensor:
    """Carry the last observed value forward, then the first one backward; both (B, C, T)."""
    steps = torch.arange(filled.shape[-1])
    last = torch.where(observed, steps, -1).cummax(dim=-1).values
    first = observed.byte().argmax(dim=-1, keepdim=True)
    return filled.gather(-1, torch.where(last < 0, first, last))


def _pad(values: Tensor, steps: int, multiple: int) -> Tensor:
    """Add NaN steps until T is `steps` at least, and a multiple."""
    wanted = max(steps, values.shape[-1])
    extra = wanted + -wanted % multiple - values.shape[-1]
    return nn.functional.pad(values, (0, extra), value=float("nan")) if extra else values


def _codes(items: Sequence[object], known: Sequence[object]) -> Ints | None:
    """Return the place of each item in `known`, -1 = none; None where nothing is known."""
    places = {item: place for place, item in enumerate(known)}
    codes = np.array([places.get(item, -1) for item in items], dtype=np.int64)
    return codes if places else None


def _pair_numbers(marks: Sequence[str | None], known: Sequence[str]) -> Ints | None:
    """Return 1 and up for pairs that are alike, -1 and down for different ones, 0 for none."""
    codes = _codes(marks, known)
    if codes is None:
        return None
    signs = [-1 if mark is not None and mark.startswith("!") else 1 for mark in marks]
    return (codes + 1) * np.array(signs, dtype=np.int64)


def _tensor(array: Ints | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(array)
