"""Fit a closed-form embedding: views through the encoder, pass after pass, until it is solved."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from seqcl.data.collate import collate_rows
from seqcl.data.dataset import Dataset
from seqcl.data.loader import Loader
from seqcl.distributed import rank, world_size
from seqcl.embeddings.base import Alike
from seqcl.errors import DataError
from seqcl.model import Model
from seqcl.rng import Rng
from seqcl.views.base import ViewGenerator

__all__ = ["codes_of", "fit_embedding"]

_FIT, _CHOICE = 13, 14
"""Streams of the seed: the views, the same in every pass, and the records of a first pass."""

_BYTES = 4 << 20
"""What one view of the records that are shown at once may take."""

Rows = npt.NDArray[np.int64]


@torch.no_grad()
def fit_embedding(model: Model, loader: Loader, make_views: ViewGenerator, *, seed: int) -> None:
    """Fit ``model.embedding`` in place on the views of every record; nothing if it has no passes.

    The record itself, unaugmented, is shown as one of its views. Unlike training a pass shows
    each record once, whatever the sampler; processes share the records. Raises EmbeddingError
    where there are too few records, DataError where they have no label or group and the embedding
    goes by it.
    """
    embedding = model.embedding
    was_training = model.training
    model.eval()
    dataset, collate = loader.dataset, model.collate(loader.dataset)
    if embedding.views is not None:
        make_views = embedding.views.build()
    alike = codes_of(dataset, embedding.alike)
    size = max(1, min(loader.batch_size, _BYTES // (4 * embedding.in_dim)))
    for number in range(embedding.passes):
        chosen = _chosen(len(dataset), embedding.sample if number == 0 else None, seed)
        for rows in islice(_parts(chosen, alike, size), rank(), None, world_size()):
            batch = collate_rows(dataset, rows, collate).to(model.device)
            rng = Rng(seed, _FIT, int(rows[0]), device=model.device)
            views = make_views(batch, model.frontend, rng)
            views = (model.frontend(batch), *views) if make_views.extra_steps == 0 else views
            pooled = torch.cat([model.encoder(view).pooled.float() for view in views])
            things = None
            if embedding.alike != "record":
                things = torch.from_numpy(alike[rows]).to(model.device).repeat(len(views))
            embedding.update(pooled, batch.ids.repeat(len(views)), things)
        if embedding.solve(whole=len(chosen) == len(dataset)):
            break
    model.train(was_training)


def codes_of(dataset: Dataset, alike: Alike) -> Rows:
    """Return what each record is alike to: numbers, of its own where nothing is known.

    Raises DataError where nothing is known of any record.
    """
    rows = np.arange(len(dataset))
    if alike == "record":
        return rows
    if alike == "group":
        codes, known = dataset.group_codes, [group is not None for group in dataset.groups]
    else:
        codes, known = dataset.label_codes, (dataset.label_codes >= 0).tolist()
    if not any(known):
        raise DataError(
            f"embedding: alike={alike} and no record has a {alike}; set data.{alike}, or "
            "embedding.alike=record"
        )
    return np.where(known, codes, codes.max(initial=0) + 1 + rows)


def _chosen(records: int, most: int | None, seed: int) -> Rows:
    """Return rows in rising order: all, or `most` random ones."""
    if most is None or records <= most:
        return np.arange(records)
    return np.sort(Rng(seed, _CHOICE).host.permutation(records)[:most])


def _parts(rows: Rows, alike: Rows, size: int) -> Iterator[Rows]:
    """Cut rows into parts of at most `size`; what is alike stays together where it fits."""
    rows = rows[np.argsort(alike[rows], kind="stable")]
    starts = np.flatnonzero(np.append(True, np.diff(alike[rows]) != 0))
    first = 0
    while first < len(rows):
        stop = first + size
        if stop < len(rows):
            whole = starts[(starts > first) & (starts <= stop)]
            stop = int(whole[-1]) if len(whole) else stop
        yield rows[first:stop]
        first = stop
