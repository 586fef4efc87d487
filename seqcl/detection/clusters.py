"""How much a run of dependent scores can say: clusters of exceedances, not steps.

Neighbouring windows share steps, so their scores rise together: fifty steps above a threshold may
be one event. Counts of events, and what can be promised from them, go by clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Clusters", "clusters_of", "extremal_index", "run_length"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clusters:
    """Stretches that hold exceedances, `first` and `last` of each and how many: (K,) each."""

    first: Ints
    last: Ints
    sizes: Ints

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def effective(self) -> float:
        """How many clusters of equal size would determine the share of steps as well.

        Kish's effective sample size (1965), (sum of sizes)² / sum of squared sizes: one cluster of
        a hundred steps beside ten of one step says hardly more of the share than one alone.
        """
        if not len(self):
            return 0.0
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())


def extremal_index(places: npt.ArrayLike) -> float:
    """Estimate the share of exceedances that begin a cluster, in (0, 1]; 1 = independent.

    The intervals estimator of Ferro and Segers 2003 (J. R. Stat. Soc. B 65, eq. 22), from the
    steps between exceedances at `places` (N,), in rising order; it needs no run length. Fewer than
    two exceedances count as independent.
    """
    gaps = np.diff(np.asarray(places, np.int64)).astype(np.float64)
    if not len(gaps):
        return 1.0
    if gaps.max() <= 2:
        top, bottom = gaps.sum() ** 2, (gaps**2).sum()
    else:
        top, bottom = (gaps - 1).sum() ** 2, ((gaps - 1) * (gaps - 2)).sum()
    return min(1.0, float(2 * top / (len(gaps) * bottom)))


def run_length(places: npt.ArrayLike) -> int:
    """Return how many steps apart two exceedances are of one cluster at most; at least 1.

    Ferro and Segers' choice: with an extremal index of θ, of N - 1 gaps the longest θ (N - 1) part
    clusters. The next longest is still inside one.
    """
    gaps = np.sort(np.diff(np.asarray(places, np.int64)))
    inside = len(gaps) - int(extremal_index(places) * len(gaps))
    return int(gaps[inside - 1]) if inside else 1


def clusters_of(places: npt.ArrayLike, run: int) -> Clusters:
    """Group exceedances at `places` (N,), in rising order, that are at most `run` steps apart."""
    places = np.asarray(places, np.int64)
    begins = np.flatnonzero(np.diff(places, prepend=places[:1] - run - 1) > run)
    ends = np.append(begins[1:], len(places))[: len(begins)]
    return Clusters(places[begins], places[ends - 1], ends - begins)
