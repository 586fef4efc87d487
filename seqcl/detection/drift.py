"""Whether vectors, a detector's scores of a row, still come from where the normal ones did.

The squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13) between the latest vectors
and the reference, in random Fourier features (Rahimi and Recht 2007), where it is a squared
distance of two means: a window costs memory and time of its own size and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from seqcl.errors import ArtefactError, DataError
from seqcl.rng import Rng

__all__ = ["Drift", "DriftReference", "DriftTracker", "DriftWatch"]

Floats = npt.NDArray[np.float64]

_PARTS = ("frequencies", "mean", "thresholds", "sizes")
_WINDOWS = 10
"""Fewest windows of a reference, and blocks of a window."""
_RELEASE = 0.8
"""Discrepancy below which drift is over, in units of the threshold."""
_PAIRS = 2000
_ROUNDING = 1e-12
"""Squared discrepancy, at most 4, that equal vectors can have by rounding."""


@dataclass(frozen=True, eq=False)
class DriftReference:
    """What normal vectors look like, and how far a window of them strays; made by `fit`."""

    frequencies: Floats
    """(E, F) of the features, for a Gaussian kernel of the median distance."""
    mean: Floats
    """(2F,) mean features of the reference."""
    threshold: float
    """Squared discrepancy that a window of normal vectors seldom exceeds."""
    window: int
    """Embeddings of a window."""
    every: int
    """Embeddings after which a window is looked at again."""

    @classmethod
    def fit(
        cls,
        vectors: npt.ArrayLike,
        *,
        window: int = 500,
        rate: float = 0.01,
        features: int = 128,
        seed: int = 0,
    ) -> DriftReference:
        """Learn from vectors (N, E) of normal operation, in the order of time.

        The threshold calibrates itself: windows at all places of the reference are compared with
        the mean of the rest, so neighbours that resemble each other count as they do later; a
        permutation would take them for independent. Of the discrepancies the ``1 - rate``
        quantile is taken or, where fewer than ``1 / rate`` windows fit side by side, that of a
        log-normal law with their mean and deviation.

        Args:
            window: vectors that are compared at once, rounded down to whole tenths.
            rate: share of looks at normal data that exceed the threshold, about.
            features: cosines and sines, of each as many.
            seed: of the frequencies.

        Raises DataError unless ten windows fit, and for a value that is not finite.
        """
        values = np.asarray(vectors, np.float64)
        if values.ndim != 2 or not np.isfinite(values).all():
            raise DataError(f"drift: vectors are {values.shape}; needs finite values (N, E)")
        if len(values) < _WINDOWS * window:
            raise DataError(
                f"drift: {len(values)} vectors; a window of {window} needs {_WINDOWS * window}: "
                "take a shorter window, or more normal data"
            )
        host = Rng(seed).host
        frequencies = host.normal(size=(values.shape[1], features)) / _median(values, host)
        mapped = _features(values, frequencies)
        every = max(1, window // _WINDOWS)
        window -= window % every
        strayed = _windows(mapped, window, every)
        threshold = _quantile(strayed, rate, len(values) // window)
        return cls(frequencies, mapped.mean(0), threshold, window, every)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return it as arrays, from which `from_arrays` makes an equal one."""
        return {
            "frequencies": self.frequencies,
            "mean": self.mean,
            "thresholds": np.array([self.threshold]),
            "sizes": np.array([self.window, self.every], np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> DriftReference:
        """Make the reference that `arrays` were taken from; ArtefactError if one is missing."""
        lacking = [name for name in _PARTS if name not in arrays]
        if lacking:
            raise ArtefactError(f"drift: no array {', '.join(lacking)}; train the run again")
        frequencies, mean, thresholds, sizes = (np.asarray(arrays[name]) for name in _PARTS)
        return cls(frequencies, mean, float(thresholds[0]), *sizes.tolist())


class DriftTracker:
    """Compares the latest vectors with the reference, in memory that does not grow.

    It keeps the mean features of each tenth of a window.
    """

    def __init__(self, reference: DriftReference) -> None:
        self.reference = reference
        self._blocks: list[Floats] = []
        self._sum = np.zeros_like(reference.mean)
        self._count = 0

    def push(self, vector: npt.ArrayLike) -> float | None:
        """Take one vector (E,) and return the discrepancy where a window is looked at.

        In units of the threshold: above 1 is drift. None between looks, and until a window is
        full. Raises ValueError for a value that is not finite.
        """
        row = np.asarray(vector, np.float64)
        if row.shape != (len(self.reference.frequencies),) or not np.isfinite(row).all():
            raise ValueError(f"vector is {row.shape}; needs finite values of one row (E,)")
        self._sum = self._sum + _features(row[None], self.reference.frequencies)[0]
        self._count += 1
        if self._count < self.reference.every:
            return None
        whole = self.reference.window // self.reference.every
        self._blocks = [*self._blocks, self._sum / self._count][-whole:]
        self._sum, self._count = np.zeros_like(self._sum), 0
        if len(self._blocks) < whole:
            return None
        apart = np.mean(self._blocks, axis=0) - self.reference.mean
        return float(apart @ apart / self.reference.threshold)

    def state(self) -> dict[str, Any]:
        """Return all that it remembers, in plain values (JSON)."""
        blocks = [block.tolist() for block in self._blocks]
        return {"blocks": blocks, "sum": self._sum.tolist(), "count": self._count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; ArtefactError if it is none of this reference's."""
        try:
            blocks = [np.array(block, np.float64) for block in state["blocks"]]
            total, count = np.array(state["sum"], np.float64), int(state["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"state of drift: {error}; start without it") from error
        if any(array.shape != self.reference.mean.shape for array in (total, *blocks)):
            raise ArtefactError("state of drift: it is of another model; start without it")
        self._blocks, self._sum, self._count = blocks, total, count


@dataclass(frozen=True)
class Drift:
    """The latest window no longer looks as in training, or does so again."""

    phase: Literal["begins", "ends"]
    row: int
    """Last row of the window."""
    discrepancy: float
    """In units of the reference's threshold."""


class DriftWatch:
    """Tells when drift begins and when it ends, row by row."""

    def __init__(self, reference: DriftReference) -> None:
        self._tracker = DriftTracker(reference)
        self._on = False

    def push(self, row: int, vector: npt.NDArray[np.floating[Any]]) -> Drift | None:
        """Take the vector (E,) of a row; one with a value that is not finite is passed over."""
        if not np.isfinite(vector).all():
            return None
        found = self._tracker.push(vector)
        if found is None or (found > (_RELEASE if self._on else 1)) == self._on:
            return None
        self._on = not self._on
        return Drift("begins" if self._on else "ends", row, found)

    def state(self) -> dict[str, Any]:
        """Return all that it remembers, in plain values (JSON)."""
        return {"on": self._on, **self._tracker.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; ArtefactError if it is none of this reference's."""
        self._tracker.restore(state)
        self._on = bool(state.get("on"))


def _features(values: Floats, frequencies: Floats) -> Floats:
    """Map (N, E) to (N, 2F), whose products are the kernel's values, about."""
    phase = values @ frequencies
    both = np.concatenate([np.cos(phase), np.sin(phase)], 1)
    return np.asarray(both / np.sqrt(frequencies.shape[1]))


def _median(values: Floats, host: np.random.Generator) -> float:
    """Return the median distance of random pairs; 1 where most are equal."""
    one, other = host.integers(len(values), size=(2, _PAIRS))
    return float(np.median(np.linalg.norm(values[one] - values[other], axis=1))) or 1.0


def _windows(mapped: Floats, window: int, every: int) -> Floats:
    """Return the squared discrepancy of windows, `every` rows apart, from the rows outside."""
    sums = np.concatenate([np.zeros((1, mapped.shape[1])), mapped.cumsum(0)])
    starts = np.arange(0, len(mapped) - window + 1, every)
    inside = sums[starts + window] - sums[starts]
    outside = (sums[-1] - inside) / (len(mapped) - window)
    return np.asarray(np.square(inside / window - outside).sum(1))


def _quantile(strayed: Floats, rate: float, independent: int) -> float:
    """Return what a share `rate` of such discrepancies exceeds, more than rounding makes."""
    strayed = np.maximum(strayed, _ROUNDING)
    if independent * rate >= 1:
        return float(np.quantile(strayed, 1 - rate))
    logs = np.log(strayed)
    return float(np.exp(logs.mean() + norm.ppf(1 - rate) * logs.std(ddof=1)))
