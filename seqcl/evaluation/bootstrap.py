"""The bootstrap over test records (Efron 1979): 95 % intervals, alone and paired.

Records that depend on each other are drawn together, as the cluster bootstrap does (Davison and
Hinkley 1997, section 3.8); otherwise overlapping windows would make intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from seqcl.evaluation.outcomes import Outcomes
from seqcl.evaluation.units import independent

__all__ = ["bootstrap_interval", "resample_counts", "resampled"]

_BLOCK = 1 << 21
"""Numbers of one block of resamples: 16 MiB in int64."""


Counts = npt.NDArray[np.int64]


def resample_counts(units: Counts, resamples: int, seed: int) -> Iterator[Counts]:
    """Yield blocks (r, N): how often each record is drawn, `resamples` rows in all.

    `units` (N,) are 0..n-1; as many are drawn as there are, each with all of its records.
    """
    rng = np.random.default_rng(seed)
    n = int(units.max()) + 1
    step = max(1, _BLOCK // len(units))
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = rng.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)[:, units]


def resampled(outcomes: Outcomes, resamples: int, seed: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return each metric in every resample, (R,); equal seeds draw the same records."""
    alone = np.arange(len(outcomes.ids))
    units = independent(alone if outcomes.units is None else outcomes.units)
    blocks = [outcomes.metrics(counts) for counts in resample_counts(units, resamples, seed)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def bootstrap_interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the percentile interval that holds 95 % of `values`."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
