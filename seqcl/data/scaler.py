"""Scaler: one mean and deviation per channel, from the training data or from each record."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from seqcl.data.dataset import Dataset
from seqcl.data.options import Scaling
from seqcl.data.statistics import Statistics, channel_statistics
from seqcl.errors import DataError

__all__ = ["Scaler"]

_DROWNED = 1e6
"""Deviation of a channel over that of its typical record, from which most records look alike."""


class Scaler(nn.Module):
    """Scales (B, C, T) channel by channel; NaN stays NaN.

    `channel` uses the buffers that `fit` filled from training data; `record` takes mean and
    deviation over the observed steps of each record and channel; `none` changes nothing. Where a
    channel is constant its deviation counts as 1.

    Args:
        in_channels: C.
        mode: which of the three.

    Attributes:
        mean, std: (C,) buffers; 0 and 1 until `fit`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, in_channels: int, *, mode: Scaling = "channel") -> None:
        super().__init__()
        self.mode = mode
        self.register_buffer("mean", torch.zeros(in_channels))
        self.register_buffer("std", torch.ones(in_channels))

    def fit(self, dataset: Dataset) -> None:
        """Take statistics of the training data in one pass, every step once, NaN left out.

        Checks the data in every mode. A constant channel is told in ``dataset.notes``, and one
        where a few extreme records leave nothing of the others.

        Raises:
            DataError: a channel without any value (unless ``missing`` is hold, which leaves it
                0), no channel that varies, or a value that is infinite.
        """
        statistics = channel_statistics(dataset)
        _refuse_empty(dataset, statistics)
        for place in np.flatnonzero(statistics.constant).tolist():
            level = f"is {statistics.mean[place]:g} throughout"
            what = level if statistics.count[place] else "has no value at all"
            dataset.note(f"channel {dataset.channels[place]!r} {what}; it carries no information")
        _refuse_constant(dataset, statistics)
        if self.mode == "channel":
            self._tell_drowned(dataset, statistics)
            self.mean.copy_(torch.from_numpy(statistics.mean))
            self.std.copy_(torch.from_numpy(statistics.std))

    def _tell_drowned(self, dataset: Dataset, statistics: Statistics) -> None:
        drowned = (statistics.typical > 0) & (statistics.std > _DROWNED * statistics.typical)
        for place in np.flatnonzero(drowned).tolist():
            dataset.note(
                f"channel {dataset.channels[place]!r} deviates by {statistics.std[place]:.1g} over "
                f"all data and by {statistics.typical[place]:.1g} in a typical record, so that "
                "most records will look alike; correct its extreme values, or set "
                "data.scaler=record"
            )

    def forward(self, values: Tensor) -> Tensor:
        """Return the scaled (B, C, T); the input is left as it is."""
        if self.mode == "none":
            return values
        if self.mode == "channel":
            return (values - self.mean[:, None]) / self.std[:, None]
        return _scale_records(values)


def _scale_records(values: Tensor) -> Tensor:
    """Scale each record and channel by its own observed steps."""
    observed = ~values.isnan()
    count = observed.sum(-1, keepdim=True).clamp(min=1)  # (B, C, 1)
    zero = values.new_zeros(())
    largest = torch.where(observed, values.abs(), zero).amax(-1, keepdim=True)
    power = largest.log2().floor().clamp(-100, 100)  # no frexp: ONNX has none
    values = torch.ldexp(values, -power)  # exact, and the squares stay finite
    centred = values - torch.where(observed, values, zero).sum(-1, keepdim=True) / count
    variance = torch.where(observed, centred, zero).square().sum(-1, keepdim=True) / count
    std = variance.sqrt()
    one = torch.ldexp(torch.ones_like(std), -power)
    varies = std > torch.ldexp(1e-6 * largest, -power)
    return centred / torch.where(varies, std, one)


def _refuse_constant(dataset: Dataset, statistics: Statistics) -> None:
    if statistics.constant.all() and not (statistics.count == 0).any():
        raise DataError(
            f"{dataset.ids[0]}: every channel is constant throughout the training data, so that "
            "its records cannot be told apart; look at what was read with seqcl inspect"
        )


def _refuse_empty(dataset: Dataset, statistics: Statistics) -> None:
    counts = statistics.count.tolist()
    empty = [name for name, count in zip(dataset.channels, counts, strict=True) if not count]
    if empty and dataset.missing != "hold":
        others = ",".join(name for name in dataset.channels if name not in empty)
        raise DataError(
            f"{dataset.ids[0]}: channel {', '.join(map(repr, empty))} is missing in all "
            f"{statistics.steps} rows of the training data; drop it with data.columns=[{others}], "
            "or set data.missing=hold to take it as 0"
        )
