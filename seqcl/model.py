"""Model: what a run leaves, from a collated batch to the embeddings that are kept.

`save_state` and `load_state` (seqcl.weights) write and read its weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.batch import Batch
from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import Dataset
from seqcl.data.options import Missing
from seqcl.data.scaler import Scaler
from seqcl.embeddings.base import Embedding
from seqcl.encoders.base import Encoder
from seqcl.views.base import Frontend
from seqcl.weights import load_state, save_state

__all__ = ["Model", "load_state", "save_state"]

_OF_GROUPS, _FEWEST, _STEPS = 4_096, 8, 1 << 20
"""Records in all and of each group that tell its norms, and how many steps of them at once."""

_POOLED_AT_ONCE = 1 << 22
"""Floats that one call pools at step level (16 MB): larger spills the cache, smaller loops."""


class Model(nn.Module):
    """Scaler, front end, encoder and embedding; ``model(batch)`` gives (B, E).

    The scaler works where records become a batch, before gaps are filled: `collate` holds it.

    Args:
        scaler: fitted to the training data.
        frontend, encoder, embedding: applied in this order.
        channels: names, in the order of the training data.
        missing: how `collate` fills missing values.
        rate_hz: sampling rate of the training data.
    """

    def __init__(
        self,
        scaler: Scaler,
        frontend: Frontend,
        encoder: Encoder,
        embedding: Embedding,
        *,
        channels: tuple[str, ...],
        missing: Missing,
        rate_hz: float | None = None,
    ) -> None:
        super().__init__()
        self.scaler = scaler
        self.frontend = frontend
        self.encoder = encoder
        self.embedding = embedding
        self.channels = channels
        self.missing: Missing = missing
        self.rate_hz = rate_hz

    @property
    def device(self) -> torch.device:
        """Where the encoder's weights are (the scaler works on the host)."""
        tensors = chain(self.encoder.parameters(), self.encoder.buffers())
        return next(tensors, torch.empty(0)).device

    def collate(self, dataset: Dataset | None = None) -> Collate:
        """Return the Collate that makes this model's batches, with a scaler on the host.

        Where the front end normalises by group, it holds the norms of the groups of `dataset`, as
        they are found in 4,096 records, or 8 of each, that are spread over these.
        """
        plain = Collate(self.scaler, self.missing)
        if dataset is None or not self.frontend.by_group or not dataset.group_names:
            return plain
        batches = (
            collate_rows(dataset, rows, plain).to(self.device) for rows in _of_groups(dataset)
        )
        with torch.no_grad():
            norms = self.frontend.group_norms(batches, len(dataset.group_names))
        return Collate(self.scaler, self.missing, norms=norms.cpu())

    def forward(self, batch: Batch) -> Tensor:
        """Embed records: (B, E) float32."""
        pooled = self.encoder(self.frontend(batch)).pooled
        embedded: Tensor = self.embedding(pooled.float())
        return embedded

    def step_windows(self, batch: Batch, window: int, causal: bool = False) -> tuple[Tensor, ...]:
        """Embed a sliding window around every step of each record: B tensors (T_b, E).

        The encoder runs once; its local features are pooled over `window` steps, centred on the
        step or, if `causal`, ending with it. Steps outside the record and masked steps are left
        out of the pooling. Where the encoder strides, the embeddings of a local step are repeated
        for the steps that it stands for. `causal` makes the pooling causal; the whole is causal
        where the encoder is.
        """
        view = self.frontend(batch)
        encoded = self.encoder(view, local=True)
        assert encoded.local is not None
        stride = self.encoder.stride
        rows = []
        for row, features in enumerate(encoded.local):
            steps = view.values.shape[-1] if view.host_lengths is None else view.host_lengths[row]
            real = -(-steps // stride)
            mask = None if encoded.mask is None else encoded.mask[row, :real]
            pooled = self._pool_windows(features[:, :real], mask, -(-window // stride), causal)
            rows.append(self.embedding(pooled).repeat_interleave(stride, dim=0)[:steps])
        return tuple(rows)

    def _pool_windows(
        self, features: Tensor, mask: Tensor | None, width: int, causal: bool
    ) -> Tensor:
        """Pool (D, T') over `width` local steps around each: (T', out_dim)."""
        steps = features.shape[1]
        if mask is None:
            mask = torch.ones(steps, dtype=torch.bool, device=features.device)
        before = width - 1 if causal else width // 2
        margins = (before, width - 1 - before)
        windows = F.pad(features.float(), margins).unfold(1, width, 1).transpose(0, 1)
        masks = F.pad(mask, margins).unfold(0, width, 1)  # (T', width)
        size = max(1, _POOLED_AT_ONCE // (width * features.shape[0]))
        return torch.cat(
            [
                self.encoder.pooling(windows[first : first + size], masks[first : first + size])
                for first in range(0, steps, size)
            ]
        )


def _of_groups(dataset: Dataset) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows that are spread over the groups and within each, in parts of bounded size."""
    codes, groups = dataset.group_codes, len(dataset.group_names)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(groups + 1))
    chosen = []
    for first, stop in pairwise(bounds.tolist()):
        count = min(stop - first, max(_FEWEST, _OF_GROUPS // groups))
        chosen.append(order[np.linspace(first, max(first, stop - 1), count).astype(np.int64)])
    rows = np.concatenate(chosen)
    lengths = dataset.lengths[rows]
    order = np.argsort(lengths, kind="stable")  # little padding
    first = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or (stop + 1 - first) * lengths[order[stop]] > _STEPS:
            yield rows[order[first:stop]]
            first = stop
