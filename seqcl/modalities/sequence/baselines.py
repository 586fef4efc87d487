"""Raw and MiniRocket: what a trained encoder of sequences is compared with."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from seqcl.batch import Embeddings
from seqcl.data.dataset import Dataset
from seqcl.data.scaler import Scaler
from seqcl.modalities.base import Baseline, NotApplicable

__all__ = ["MiniRocket", "Raw"]

Floats = npt.NDArray[np.float32]

_ROWS = 1024
_KERNEL_STEPS = 9


class Raw(Baseline):
    """The values themselves, for 1-NN with the Euclidean distance.

    Channels are standardised by the reference's means and deviations, gaps filled by linear
    interpolation (at the ends by the nearest value), and the steps of all channels laid end to
    end. Records are cut or padded to the reference's longest one; padding is 0, the mean.
    """

    name: ClassVar[str] = "raw"
    evaluators: ClassVar[tuple[str, ...]] = ("knn",)

    def __call__(
        self, reference: Dataset, test: Dataset, seed: int
    ) -> tuple[Embeddings, Embeddings]:
        """Return (N, C * T) each; `seed` changes nothing."""
        scaler = Scaler(len(reference.channels), mode="channel")
        scaler.fit(reference)

        def flatten(dataset: Dataset) -> Embeddings:
            shape = (len(dataset), len(dataset.channels), reference.max_length)
            values = np.zeros(shape, dtype=np.float32)
            for first in range(0, len(dataset), _ROWS):
                rows = dataset.gather(range(first, min(first + _ROWS, len(dataset))))
                scaled = scaler(torch.from_numpy(rows.values)).numpy()
                for row, (record, length) in enumerate(zip(scaled, rows.lengths, strict=True)):
                    filled = _interpolated(record[:, :length])[:, : shape[2]]
                    values[first + row, :, : filled.shape[1]] = filled
            return _embeddings(dataset, values.reshape(len(dataset), -1), metric="euclidean")

        return flatten(reference), flatten(test)


class MiniRocket(Baseline):
    """MiniRocket (Dempster et al. 2021, arXiv 2012.08791) by aeon: 9,996 untrained features.

    Kernel biases are fitted to the reference, without labels. Series shorter than a kernel are
    padded with zeros to its 9 steps. Not applicable to unequal lengths or missing values.
    """

    name: ClassVar[str] = "minirocket"
    evaluators: ClassVar[tuple[str, ...]] = ("linear", "knn", "clustering", "retrieval")

    def __call__(
        self, reference: Dataset, test: Dataset, seed: int
    ) -> tuple[Embeddings, Embeddings]:
        """Return (N, 9,996) each."""
        from aeon.transformations.collection.convolution_based import MiniRocket as Transform

        X, Z = _rectangle(reference, test)
        transform = Transform(n_kernels=10_000, n_jobs=1, random_state=seed)
        state = np.random.get_state()  # aeon seeds the global generator
        try:
            transform.fit(X)
        finally:
            np.random.set_state(state)
        return (
            _embeddings(reference, transform.transform(X), scaling="each"),
            _embeddings(test, transform.transform(Z), scaling="each"),
        )


def _rectangle(reference: Dataset, test: Dataset) -> tuple[Floats, Floats]:
    """Return both as (N, C, T) of one T >= 9 without NaN; raises NotApplicable."""
    lengths = np.concatenate([reference.lengths, test.lengths])
    if lengths.min() < lengths.max():
        raise NotApplicable(f"unequal length: {lengths.min()} to {lengths.max()} steps")
    arrays = []
    for dataset in (reference, test):
        values = dataset.gather(range(len(dataset))).values
        gaps = int(np.isnan(values).any(axis=(1, 2)).sum())
        if gaps:
            raise NotApplicable(f"missing values in {gaps} of {len(dataset)} records")
        short = max(0, _KERNEL_STEPS - values.shape[2])
        arrays.append(np.pad(values, ((0, 0), (0, 0), (0, short))))
    return arrays[0], arrays[1]


def _interpolated(record: Floats) -> Floats:
    """Fill the gaps of (C, T) channel by channel; 0 where nothing is observed."""
    missing = np.isnan(record)
    if not missing.any():
        return record
    filled = np.zeros_like(record)
    steps = np.arange(record.shape[1])
    for channel, gaps in enumerate(missing):
        if not gaps.all():
            filled[channel] = np.interp(steps, steps[~gaps], record[channel, ~gaps])
    return filled


def _embeddings(dataset: Dataset, values: Floats, **info: Any) -> Embeddings:
    return Embeddings(
        values=np.ascontiguousarray(values, dtype=np.float32),
        ids=tuple(dataset.ids),
        labels=tuple(dataset.labels),
        groups=tuple(dataset.groups),
        start=dataset.spans.start if dataset.is_windowed else None,
        info=info,
    )
