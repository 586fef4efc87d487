"""Fit a closed-form embedding: all views through the encoder, pass after pass, then solve."""

from __future__ import annotations

import torch

from seqcl.data.collate import collate_rows
from seqcl.data.loader import Loader
from seqcl.model import Model
from seqcl.rng import Rng
from seqcl.views.base import ViewGenerator

__all__ = ["fit_embedding"]

_FIT = 13
"""The stream of the seed that the views are drawn from, the same in every pass."""


@torch.no_grad()
def fit_embedding(model: Model, loader: Loader, make_views: ViewGenerator, *, seed: int) -> None:
    """Fit ``model.embedding`` in place on the views of every record; nothing if it has no passes.

    Unlike training it shows each record once a pass, in the dataset's order, whatever the
    sampler. Raises EmbeddingError where there are too few records.
    """
    was_training = model.training
    model.eval()
    dataset, collate, size = loader.dataset, model.collate(), loader.batch_size
    for _ in range(model.embedding.passes):
        for part, first in enumerate(range(0, len(dataset), size)):
            rows = range(first, min(first + size, len(dataset)))
            batch = collate_rows(dataset, rows, collate).to(model.device)
            rng = Rng(seed, _FIT, part, device=model.device)
            views = make_views(batch, model.frontend, rng)
            pooled = torch.cat([model.encoder(view).pooled.float() for view in views])
            model.embedding.update(pooled, batch.ids.repeat(len(views)))
    if model.embedding.passes:
        model.embedding.solve()
    model.train(was_training)
