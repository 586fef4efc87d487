"""The upper tail of scores: a generalised Pareto law beyond a high level (peaks over threshold).

Pickands 1975; for thresholds of anomaly scores, Siffer et al. 2017, "Anomaly Detection in Streams
with Extreme Value Theory" (KDD).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

__all__ = ["Law", "Tail", "fit_pareto"]

_JOINT = 10
"""Scores that the tail replaces, and the fewest that it is fitted to."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tail:
    """How often scores pass a level beyond `level`: ``log_mass`` there, and how it falls off.

    Where the law has an end (`shape` below 0), it is left at `largest`, the largest score it was
    fitted to, and goes on exponentially with the hazard it has there: an end that is estimated
    from data is no reason to call anything impossible. So the mass is never 0 and always falls.
    """

    level: float
    log_mass: float
    """Natural logarithm of the mass (a share of steps, or clusters a step) at `level`."""
    scale: float
    shape: float
    largest: float

    def log_at(self, scores: npt.ArrayLike) -> Floats:
        """Return the log of the mass beyond each of `scores`, which are at least `level`."""
        excess = np.asarray(scores, np.float64) - self.level
        if self.shape == 0:
            return np.asarray(self.log_mass - excess / self.scale)
        knee = self._knee
        inner = -np.log1p(self.shape * np.minimum(excess, knee) / self.scale) / self.shape
        return np.asarray(self.log_mass + inner - self._hazard * np.maximum(excess - knee, 0.0))

    def score_at(self, log_mass: float) -> float:
        """Return the score beyond which the log of the mass is `log_mass`, `level` at least."""
        fall = max(0.0, self.log_mass - log_mass)
        if self.shape == 0:
            return self.level + self.scale * fall
        if self.shape < 0:
            limit = float(np.log1p(self.shape * self._knee / self.scale)) / self.shape
            if fall > limit:
                return self.largest + (fall - limit) / self._hazard
        return self.level + self.scale * float(np.expm1(self.shape * fall)) / self.shape

    @property
    def _knee(self) -> float:
        return self.largest - self.level if self.shape < 0 else np.inf

    @property
    def _hazard(self) -> float:
        """Return the hazard beyond the knee; 0 where there is none."""
        if self.shape > 0:
            return 0.0
        return 1 / (self.scale + self.shape * self._knee)


@dataclass(frozen=True, eq=False)
class Law:
    """How often a score is as high as another, over all `trials` that were seen.

    The body is conformal, (1 + number as high) / (1 + trials) at every score that was seen, and
    linear between them, so that it is never below the conformal value. It is continuous and
    falls everywhere, into the tail too, which begins with the tenth highest score.
    """

    parts: ClassVar[tuple[str, ...]] = ("knots", "masses", "trials", "tail")
    knots: Floats
    """(K,) distinct scores, rising, up to where the tail begins; all of them without one."""
    masses: Floats
    """(K,) mass at each, falling."""
    trials: int
    tail: Tail | None
    """None = fewer than ten scores above the level, or none above the tenth highest."""

    @classmethod
    def fit(cls, values: Floats, level: float, trials: int) -> Law:
        """Fit to sorted `values` (N,), N at most `trials`; those above `level` shape the tail."""
        knots, counts = np.unique(values, return_counts=True)
        as_high = counts[::-1].cumsum()[::-1]
        masses = (1 + as_high) / (1 + trials)
        joint = int(np.searchsorted(-as_high, -_JOINT))
        excess = values[values > level] - level
        if len(excess) < _JOINT or joint >= len(knots) - 1:
            return cls(knots, masses, trials, None)
        scale, shape = fit_pareto(excess)
        # Beyond a higher level the law has the same shape, and this scale.
        scale += shape * (float(knots[joint]) - level)
        mass = float(np.log(masses[joint]))
        tail = Tail(float(knots[joint]), mass, scale, shape, float(knots[-1]))
        return cls(knots[: joint + 1], masses[: joint + 1], trials, tail)

    def log_at(self, scores: npt.ArrayLike) -> Floats:
        """Return the log of the mass at each of `scores`, their shape; NaN stays NaN."""
        scores = np.asarray(scores, np.float64)
        body = np.log(np.interp(scores, self.knots, self.masses))
        body = np.where(np.isnan(scores), np.nan, body)  # of one knot, interp makes 1
        if self.tail is None:
            return np.where(scores > self.knots[-1], -np.log1p(self.trials), body)
        beyond = self.tail.log_at(np.maximum(scores, self.tail.level))
        return np.where(scores > self.tail.level, beyond, body)

    def score_at(self, mass: float) -> float:
        """Return the lowest score whose mass is at most `mass`."""
        if mass >= self.masses[-1]:
            return float(np.interp(-mass, -self.masses, self.knots))
        if self.tail is not None:
            return self.tail.score_at(float(np.log(mass)))
        return float(np.nextafter(self.knots[-1], np.inf))

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the law as arrays, by the names in `parts`."""
        tail = () if self.tail is None else astuple(self.tail)
        trials = np.array([self.trials], np.int64)
        values = (self.knots, self.masses, trials, np.array(tail, np.float64))
        return dict(zip(self.parts, values, strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Law:
        """Make the law that `arrays` were taken from."""
        knots, masses, trials, tail = (np.asarray(arrays[name]) for name in cls.parts)
        return cls(knots, masses, int(trials[0]), Tail(*tail.tolist()) if len(tail) else None)


def fit_pareto(excess: npt.ArrayLike) -> tuple[float, float]:
    """Return scale and shape of the generalised Pareto law of `excess` (N,), all above 0.

    The posterior mean of Zhang and Stephens 2009 (Technometrics 51, 316): as near as maximum
    likelihood, and never without a solution. The shape is then drawn to 0, the exponential law,
    with the weight of ten observations, and kept in [-1, 1]; the median stays.
    """
    y = np.sort(np.asarray(excess, np.float64))
    n = len(y)
    grid = 30 + int(np.sqrt(n))
    spread = 3 * y[max(0, int(n / 4 + 0.5) - 1)]
    b = 1 / y[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / spread
    b[b == 0] = 1e-12 / y[-1]
    shapes = np.log1p(-b[:, None] * y).mean(1)
    likelihood = n * (np.log(-b / shapes) - shapes - 1)
    weights = np.exp(likelihood - likelihood.max())
    best = float((b * weights).sum() / weights.sum()) or 1e-12 / float(y[-1])
    raw = float(np.log1p(-best * y).mean())
    shape = float(np.clip(raw * n / (n + 10), -1.0, 1.0))
    scale = -raw / best * _median(raw) / _median(shape)
    if shape < 0:  # every observation must be possible
        scale = max(scale, -shape * float(y[-1]) * (1 + 1 / n))
    return scale, shape


def _median(shape: float) -> float:
    """Return the median of the law of scale 1."""
    return float(np.expm1(shape * np.log(2)) / shape) if shape else float(np.log(2))
