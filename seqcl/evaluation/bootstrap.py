"""The bootstrap over test records (Efron 1979): 95 % intervals, alone and paired."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from seqcl.evaluation.outcomes import Outcomes

__all__ = ["bootstrap_interval", "resample_counts", "resampled"]

_BLOCK = 1 << 21
"""Numbers of one block of resamples: 16 MiB in int64."""


def resample_counts(n: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield blocks (r, n): how often each of `n` records is drawn, `resamples` rows in all."""
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // n)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = rng.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)


def resampled(outcomes: Outcomes, resamples: int, seed: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return each metric in every resample, (R,); equal seeds draw the same records."""
    blocks = [
        outcomes.metrics(counts) for counts in resample_counts(len(outcomes.ids), resamples, seed)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def bootstrap_interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the percentile interval that holds 95 % of `values`."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
