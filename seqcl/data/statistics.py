"""Mean and deviation of each channel in one pass, in float64.

Blocks are merged by the pairwise update of Chan, Golub and LeVeque (1979, eq. 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqcl.data.dataset import Dataset
from seqcl.data.windows import Span
from seqcl.errors import DataError

__all__ = ["Statistics", "channel_statistics"]

Doubles = npt.NDArray[np.float64]

_EXPONENTS = 1024
"""Powers of two that a deviation is counted by, half of them below 1."""
_CONSTANT = 1e-9
"""A deviation below this part of the largest value is rounding of the sums in float64."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Over all observed steps of C channels, (C,) each."""

    steps: int
    """Steps seen, observed or not."""
    count: npt.NDArray[np.int64]
    mean: Doubles
    """0 where nothing was observed."""
    std: Doubles
    """Population deviation; 1 where the channel is constant."""
    constant: npt.NDArray[np.bool_]
    typical: Doubles
    """Median deviation within a piece of a recording, to a power of two; 0 where all are 0."""


def channel_statistics(dataset: Dataset) -> Statistics:
    """Take the statistics of every step that a row covers, each once, in bounded memory.

    Raises DataError for an infinite value, naming the recording and the channel.
    """
    channels = len(dataset.channels)
    steps = 0
    count = np.zeros(channels, dtype=np.int64)
    mean, squares, largest = np.zeros((3, channels))
    deviations = np.zeros((channels, _EXPONENTS), dtype=np.int64)
    for span, values in dataset.pieces():
        _refuse_infinite(dataset, span, values)
        observed = ~np.isnan(values)
        exact = np.where(observed, values.astype(np.float64), 0.0)
        part = observed.sum(axis=(0, 2))
        part_mean = exact.sum(axis=(0, 2)) / np.maximum(part, 1)
        centred = np.where(observed, exact - part_mean[:, None], 0.0)
        total = np.maximum(count + part, 1)
        delta = part_mean - mean
        squares += np.square(centred).sum(axis=(0, 2)) + np.square(delta) * count * part / total
        mean += delta * part / total
        count += part
        steps += int(span.length.sum())
        largest = np.maximum(largest, np.abs(exact).max(axis=(0, 2)))
        _count_deviations(deviations, exact, observed)
    std = np.sqrt(squares / np.maximum(count, 1))
    constant = std <= _CONSTANT * largest
    scale = np.where(constant, 1.0, std)
    return Statistics(steps, count, mean, scale, constant, _median(deviations))


def _count_deviations(
    deviations: npt.NDArray[np.int64], exact: Doubles, observed: npt.NDArray[np.bool_]
) -> None:
    """Count the deviations of each row of (N, C, T) by channel and power of two."""
    count = np.maximum(observed.sum(2), 1)
    own = exact.sum(2) / count
    centred = np.where(observed, exact - own[..., None], 0.0)
    spread = np.sqrt(np.square(centred).sum(2) / count)  # (N, C)
    row, channel = np.nonzero(spread)
    place = np.frexp(spread[row, channel])[1] + _EXPONENTS // 2
    np.add.at(deviations, (channel, place), 1)


def _median(deviations: npt.NDArray[np.int64]) -> Doubles:
    """Return the power of two (C,) that half of the deviations do not exceed; 0 without any."""
    total = deviations.sum(1)
    place = (deviations.cumsum(1) >= (total / 2)[:, None]).argmax(1)
    return np.where(total > 0, np.exp2(place - _EXPONENTS // 2), 0.0)


def _refuse_infinite(dataset: Dataset, span: Span, values: npt.NDArray[np.float32]) -> None:
    infinite = np.isinf(values)
    if not infinite.any():
        return
    row, channel, step = (int(places[0]) for places in np.nonzero(infinite))
    raise DataError(
        f"{dataset.recordings.ids[int(span.recording[row])]}: channel "
        f"{dataset.channels[channel]!r} is infinite, or beyond float32, at step "
        f"{int(span.start[row]) + step}; correct it or leave it empty"
    )
