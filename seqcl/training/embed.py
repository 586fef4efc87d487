"""Embed a dataset with a Model, in chunks whose shapes do not depend on the company."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqcl.batch import Batch, Embeddings
from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import Dataset
from seqcl.distributed import gather_rows, rank, world_size
from seqcl.errors import DataError, UsageError
from seqcl.model import Model

__all__ = ["embed", "padded_length"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_FEWEST_ROWS = 16
"""Below it the matrix kernels change, and with them the last bits; from it on, for every
encoder here, a row's bits depend neither on the number nor on the place of the others (CPU)."""

_STEPS_AT_ONCE = {"cpu": 1 << 14, "cuda": 1 << 20}
"""Rows x steps of a chunk: on a CPU what stays in its cache (1.3 times as fast as 256 rows)."""


def embed(
    model: Model,
    dataset: Dataset,
    *,
    level: Literal["instance", "step"] = "instance",
    window: int = 32,
    causal: bool = False,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    alike: bool = False,
    shared: bool = False,
    by_group: bool = True,
) -> Embeddings:
    """Embed every record: (N, E), or at step level a row for each step of each record.

    The same record gives the same embedding bit for bit, whatever else is in the dataset and in
    whatever order, with the same device and threads, between datasets of equal lengths, and
    between datasets of unequal lengths (which are padded). Between the two kinds, and where
    other records have steps without any value, the masks differ, and so may the last bits: by
    less than 1e-5, as every encoder promises. A front end that normalises by group makes a record
    that has one depend on that group's others.

    Args:
        model: moved to `device`; evaluated in eval mode.
        dataset: its channels are matched to the model's, by name where it has names.
        level: `instance` pools whole records; `step` pools a window around each step, and
            `lengths` says how many rows each record has.
        window: steps of that window.
        causal: end the window at its step instead of centring it; without future where the
            encoder has none.
        batch_size: records at most in a chunk; chunks of long records are smaller.
        device: where to compute; None = where the model is.
        on_batch: called with (records done by this process, records) after each chunk.
        alike: treat every dataset of series as one of unequal lengths with gaps, so that a record
            has the same bits in any of them.
        shared: embed a part of the records and take the others from the other processes, which
            call this with the same dataset; all get the whole.
        by_group: where the front end normalises by group, take the groups of the dataset; else
            each record is a group of its own.

    Raises:
        DataError: channels are missing, extra, or of another number; a value is infinite, or so
            large that an embedding is not finite.
        UsageError: `step`, and the encoder has no features of single steps.
        ValueError: no records, or a window below 1.
    """
    if not len(dataset) or window < 1:
        raise ValueError(f"embed: {len(dataset)} records, window {window}; both must be at least 1")
    if level not in ("instance", "step"):
        raise ValueError(f"embed: level is {level!r}; known: instance, step")
    if level == "step" and not model.encoder.embeds_steps:
        name = type(model.encoder).__name__
        raise UsageError(f"level step: {name} has no features of single steps; use level instance")
    dataset = dataset.select(model.channels)
    device = model.device if device is None else torch.device(device)
    found: list[Tensor | None] = [None] * len(dataset)
    done, was_training = 0, model.training
    model.to(device).eval()
    try:
        with torch.no_grad():
            collate = model.collate(dataset if by_group else None)
            for rows, batch in _chunks(dataset, collate, batch_size, device, alike, shared):
                if level == "instance":
                    parts = model(batch).cpu()[:, None]
                else:
                    parts = model.step_windows(batch, window, causal)
                for row, part in zip(rows, parts, strict=False):  # beyond `rows`: fillers
                    found[row] = part.cpu()
                done += len(rows)
                if on_batch is not None:
                    on_batch(done, len(dataset))
    finally:
        model.train(was_training)
    if shared:
        found = _of_all(found, model.embedding.out_dim)
    parts = [part for part in found if part is not None]
    _refuse_not_finite(dataset, parts)
    return _described(dataset, parts, level)


def padded_length(steps: int) -> int:
    """Return the length that a record is padded to among others: at most an eighth longer."""
    multiple = 1 << max(0, steps.bit_length() - 4)
    return -(-steps // multiple) * multiple


def _chunks(
    dataset: Dataset,
    collate: Collate,
    batch_size: int,
    device: torch.device,
    alike: bool,
    shared: bool,
) -> Iterator[tuple[list[int], Batch]]:
    """Yield rows and their batch, of one padded length each, filled up to `_FEWEST_ROWS`."""
    lengths = dataset.lengths
    unequal = dataset.size is None and (alike or bool((lengths != lengths[0]).any()))
    padded = np.array([padded_length(n) for n in lengths.tolist()]) if unequal else lengths
    chunks: list[tuple[int, list[int]]] = []
    for length in np.unique(padded).tolist():
        members = np.flatnonzero(padded == length).tolist()
        limit = _STEPS_AT_ONCE.get(device.type, 1 << 20) // length
        size = max(_FEWEST_ROWS, min(batch_size, limit))
        chunks += [
            (length, members[first : first + size]) for first in range(0, len(members), size)
        ]
    for length, rows in chunks[rank() :: world_size()] if shared else chunks:
        filled = rows + rows[-1:] * (_FEWEST_ROWS - len(rows))
        sized = Collate(collate.scaler, collate.missing, pad_multiple=length, norms=collate.norms)
        batch = collate_rows(dataset, filled, sized).to(device)
        if batch.mask is None and unequal:
            batch = replace(batch, mask=batch.values.new_ones(len(batch), length).bool())
        yield rows, batch


def _of_all(found: list[Tensor | None], dim: int) -> list[Tensor | None]:
    """Return what every process found: for each record the part (k, dim) of the one that has it.

    Raises ValueError where the processes did not share the records as one.
    """
    own = [row for row, part in enumerate(found) if part is not None]
    parts = [torch.empty(0, dim), *(part for part in found if part is not None)]
    rows = gather_rows(torch.tensor(own, dtype=torch.int64)).tolist()
    sizes = gather_rows(torch.tensor([len(part) for part in parts[1:]], dtype=torch.int64))
    joined = torch.split(gather_rows(torch.cat(parts)), sizes.tolist())
    if sorted(rows) != list(range(len(found))):
        raise ValueError("embed: the processes share other records; start all with equal options")
    whole: list[Tensor | None] = [None] * len(found)
    for row, part in zip(rows, joined, strict=True):
        whole[row] = part
    return whole


def _refuse_not_finite(dataset: Dataset, parts: list[Tensor]) -> None:
    """Raise DataError for the first record whose embedding (k, E) is not finite."""
    if bool(torch.isfinite(torch.cat(parts)).all()):
        return
    row = next(row for row, part in enumerate(parts) if not torch.isfinite(part).all())
    values = np.abs(dataset.record(row).values)
    largest = float(np.nanmax(values))
    channel, step = (int(place) for place in np.unravel_index(np.nanargmax(values), values.shape))
    what = "infinite, or beyond float32"
    if largest < np.inf:
        what = f"{largest:.3g}, beyond what the encoder can take"
    raise DataError(
        f"{dataset.ids[row]}: channel {dataset.channels[channel]!r} is {what}, at step "
        f"{int(dataset.spans.start[row]) + step}; correct it or leave it empty"
    )


def _described(dataset: Dataset, parts: list[Tensor], level: str) -> Embeddings:
    """Join the parts of all records and say what is known of them."""
    step = level == "step"
    groups = tuple(dataset.groups)
    return Embeddings(
        torch.cat(parts).float().numpy(),
        tuple(dataset.ids),
        labels=tuple(dataset.labels) if dataset.classes else None,
        groups=groups if any(group is not None for group in groups) else None,
        start=dataset.spans.start if dataset.is_windowed else None,
        step_labels=_step_labels(dataset) if step else None,
        lengths=np.array([len(part) for part in parts]) if step else None,
    )


def _step_labels(dataset: Dataset) -> Ints | None:
    """Return the labels of all steps, -1 = unknown, where any record has them; else None."""
    labels = [dataset.record(row).step_labels for row in range(len(dataset))]
    if all(part is None for part in labels):
        return None
    unknown = [np.full(length, -1, np.int64) for length in dataset.lengths.tolist()]
    return np.concatenate(
        [lack if part is None else part for part, lack in zip(labels, unknown, strict=True)]
    )
