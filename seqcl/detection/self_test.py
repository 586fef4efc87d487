"""Anomalies of our own in a held-out slice: what each score is worth, without a label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.registry import registry
from seqcl.rng import Rng
from seqcl.views.injection import Injection

__all__ = ["KINDS", "injected_copies", "widened"]

Bools = npt.NDArray[np.bool_]

KINDS = (
    "spike", "level_shift", "drift", "noise_burst",
    "flat_line", "splice", "channel_dropout", "local_warp",
)  # fmt: skip
"""Anomalies that are injected, those with an amplitude first."""
_STRONG = frozenset(KINDS[:4])
"""Kinds that have an amplitude."""
_AMPLITUDES = (0.5, 4.0)
"""Deviations; larger anomalies are seen by every score, and tell none from another."""
_CHANNELS = (0.1, 0.3, 1.0)
"""Shares of the channels that an anomaly is in, each as likely as another."""
_DENSITY = 0.12
_COPIES, _FEWEST, _ROWS = 64, 4, 50_000
"""Copies: at most, at least, and how many rows they have together where the slice is long."""
_TRIES = 200


def injected_copies(
    scaled: Tensor, start: int, window: int, rng: Rng
) -> Iterator[tuple[Tensor, Bools]]:
    """Yield copies of a recording (T, C) with anomalies from row `start`, and their labels (T,).

    They are of a random kind, lie anywhere with a window of normal rows between two of them, and
    last from two rows to four windows, each octave as likely as another; spikes last one to three.
    Amplitudes are as likely in each octave. An eighth of the slice is changed.
    """
    for number in range(max(_FEWEST, min(_COPIES, _ROWS // len(scaled)))):
        changed, steps = _injected(scaled[start:], window, rng.fork(number))
        labels = np.concatenate([np.zeros(start, np.bool_), steps])
        yield torch.cat([scaled[:start], changed]), labels


def _injected(rows: Tensor, window: int, rng: Rng) -> tuple[Tensor, Bools]:
    """Put anomalies into rows (T, C)."""
    batch = Batch(rows.T[None].contiguous(), torch.zeros(1, dtype=torch.int64))
    labels = np.zeros(len(rows), np.bool_)
    for attempt in range(_TRIES):
        injection = _drawn(len(rows), window, rng)
        params = injection.sample(batch, rng.fork(attempt))
        start, stop = int(params["start"]), int(params["stop"])
        if labels[max(0, start - window) : stop + window].any():
            continue
        batch = injection.apply(batch, params)
        labels[start:stop] = True
        if labels.sum() > _DENSITY * len(rows):
            break
    return batch.values[0].T, labels


def _drawn(rows: int, window: int, rng: Rng) -> Injection:
    """Draw a kind, its length, its amplitude and its share of the channels."""
    kind = KINDS[rng.host.integers(len(KINDS))]
    longest = max(4.0, min(4 * window, rows / 8))
    length = (
        rng.host.integers(1, 4)
        if kind == "spike"
        else np.exp(rng.host.uniform(*np.log([2, longest])))
    )
    share = min(1.0, float(round(length)) / rows)
    options: dict[str, Any] = {
        "fraction": (share, share), "floor": 1.0, "channel_share": rng.host.choice(_CHANNELS),
    }  # fmt: skip
    if kind in _STRONG:
        amplitude = float(np.exp(rng.host.uniform(*np.log(_AMPLITUDES))))
        options["amplitude"] = (amplitude, amplitude)
    injection: Injection = registry("augmentations")[kind](**options)
    return injection


def widened(labels: Bools, rows: int) -> Bools:
    """Return labels (T,) that hold for `rows` more rows on both sides."""
    total = np.concatenate([[0], np.cumsum(labels)])
    row = np.arange(len(labels))
    return np.asarray(
        total[np.minimum(row + rows + 1, len(labels))] > total[np.maximum(row - rows, 0)]
    )
