"""From scores to p-values and thresholds whose false-alarm rate is the one asked for.

A calibration slice is normal operation that nothing was fitted to, parted from what was by a gap.
Scores: higher = more anomalous.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import chi2

from seqcl.detection.clusters import clusters_of, run_length
from seqcl.detection.rates import rounded_up
from seqcl.detection.tail import Law
from seqcl.errors import ArtefactError, DataError, UsageError

__all__ = ["Calibration", "calibrate"]

Floats = npt.NDArray[np.float64]

NEEDED = 12.0
"""Clusters in which the 95 % Poisson interval of a rate is [0.52, 1.75] of it: the fewest that
keep both ends within a factor of 2."""

Told = Callable[[float], str]
"""Says a rate a row in the words of a refusal."""


def _share(rate: float) -> str:
    return f"{rounded_up(rate):g} of rows"


def _alarms(rate: float) -> str:
    return f"{rounded_up(rate):g} alarms a row"


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a calibration slice says about scores; a value, made by `calibrate`."""

    shares: Law
    """Share of rows that are as high as a score: its p-value."""
    peaks: Law
    """Clusters a row whose highest score is as high."""
    rows: int
    """n, the rows of the slice."""
    run: int
    """Rows apart that two exceedances are of one cluster at most: the merge gap of incidents."""
    share: float
    """Share of rows at or above the level at which clusters were counted."""
    clusters: int
    """Clusters of such rows."""
    effective: float
    """Clusters of equal size that would determine the share of rows as well."""
    scores: Floats
    """(N,) the slice in the order of time, NaN = no score; incidents are counted on it."""

    def log_p(self, scores: npt.ArrayLike) -> Floats:
        """Return natural logs of upper-tail p-values, the shape of `scores`; NaN stays NaN.

        Conformal (rank + 1) / (n + 1) at the scores of the slice, see `Law`; without a tail,
        whatever exceeds the slice has 1 / (n + 1).
        """
        return self.shares.log_at(scores)

    def p_values(self, scores: npt.ArrayLike) -> Floats:
        """Return upper-tail p-values in (0, 1], the shape of `scores`; never 0."""
        return np.asarray(np.exp(np.maximum(self.log_p(scores), np.log(np.finfo(float).tiny))))

    @property
    def lowest_share(self) -> float:
        """Lowest share of rows that can be promised within a factor of 2.

        The share at which the slice holds as much as `NEEDED` clusters of equal size.
        """
        return min(1.0, NEEDED / self.effective * self.share)

    @property
    def lowest_alarms(self) -> float:
        """Lowest number of alarms a row that can be promised: `NEEDED` in the whole slice."""
        return NEEDED / self.rows

    @property
    def highest_alarms(self) -> float:
        """Highest number of alarms a row that occurred at any level; more of them would merge."""
        return float(self.peaks.masses[0])

    def threshold(
        self, share: float, *, confidence: float | None = None, told: Told = _share
    ) -> float:
        """Return the score from which rows are alarms, so that `share` of normal rows are.

        Args:
            share: asked, in (0, 1).
            confidence: None = as many as asked; 0.95 = at most as many, with that confidence in
                the clusters that were counted: the upper bound of the rate is what was asked.
            told: says a share in the words of a refusal.

        Raises UsageError below what the slice can support.
        """
        if not 0 < share < 1:
            raise UsageError(f"false-alarm share is {share:g}; give one between 0 and 1")
        share = _bounded(share, self.effective / self.share, confidence, self.lowest_share, told)
        return self.shares.score_at(share)

    def alarm_threshold(
        self, per_row: float, *, confidence: float | None = None, told: Told = _alarms
    ) -> float:
        """Return the score of which clusters of exceedances occur `per_row` times a row.

        Alarms a day are ``per_row`` times the rows of a day; see `threshold`. Incidents count so
        where their merge gap is `run`.
        """
        if not 0 < per_row < 1:
            raise UsageError(f"alarms a row are {per_row:g}; give a number between 0 and 1")
        held = (
            f"cannot promise {told(per_row)}: the calibration data hold "
            f"{self.highest_alarms * self.rows:.0f} stretches of high scores, where rows up to "
            f"{self.run} apart are one"
        )
        if self.highest_alarms < self.lowest_alarms:
            raise UsageError(
                f"{held}, and {NEEDED:.0f} are needed for any rate of alarms; ask for a share of "
                "rows, or calibrate on a longer slice"
            )
        if self.highest_alarms < per_row:
            raise UsageError(
                f"{held}: {told(self.highest_alarms)} at the highest; ask for fewer alarms, or for "
                "a share of rows"
            )
        rate = _bounded(per_row, self.rows, confidence, self.lowest_alarms, told)
        return self.peaks.score_at(rate)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the calibration as arrays, from which `from_arrays` makes an equal one."""
        return {
            "counts": np.array([self.rows, self.run, self.clusters], np.int64),
            "level": np.array([self.share, self.effective]),
            "scores": self.scores,
            **{f"shares.{name}": array for name, array in self.shares.arrays().items()},
            **{f"peaks.{name}": array for name, array in self.peaks.arrays().items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Calibration:
        """Make the calibration that `arrays` were taken from; ArtefactError if one is missing."""
        try:
            shares, peaks = (
                Law.from_arrays({part: arrays[f"{name}.{part}"] for part in Law.parts})
                for name in ("shares", "peaks")
            )
            rows, run, clusters = np.asarray(arrays["counts"]).tolist()
            share, effective = np.asarray(arrays["level"]).tolist()
            scores = np.asarray(arrays["scores"], np.float64)
        except KeyError as error:
            raise ArtefactError(f"calibration: no array {error}; train the run again") from error
        return cls(shares, peaks, rows, run, share, clusters, effective, scores)


def calibrate(scores: npt.ArrayLike, *, tail: float = 0.02, run: int | None = None) -> Calibration:
    """Learn the distribution of normal scores (n,), in the order of time.

    Args:
        scores: of one calibration slice; NaN (no score) is left out of counts, not of time.
        tail: share of rows at which clusters are counted and beyond which the Pareto law is
            fitted; at least 50 rows where these are not more than a tenth.
        run: rows apart that two exceedances are of one cluster at most; None = from the gaps
            between them (Ferro and Segers 2003).

    Raises DataError without a finite score, or with one that is infinite.
    """
    scores = np.array(scores, np.float64)
    if scores.ndim != 1 or np.isinf(scores).any() or np.isnan(scores).all():
        raise DataError(
            f"calibration: scores are {scores.shape}; needs one finite score for each of n rows"
        )
    seen = np.sort(scores[~np.isnan(scores)])
    n = len(seen)
    wanted = int(max(1.0, min(max(tail * n, 50.0), n / 10)))
    level = _level(seen, wanted)
    places = np.flatnonzero(scores >= level)
    run = run_length(places) if run is None else run
    found = clusters_of(places, run)
    return Calibration(
        Law.fit(seen, level, n),
        _peaks(scores, seen, wanted, run),
        n, run, len(places) / n, len(found), found.effective, scores,
    )  # fmt: skip


def _level(seen: Floats, wanted: int) -> float:
    """Return the lowest of the sorted scores that at most `wanted` reach, if any."""
    level = float(seen[-wanted])
    above = seen[seen > level]
    if len(above) and (seen >= level).sum() > wanted:
        return float(above[0])
    return level


def _peaks(scores: Floats, seen: Floats, wanted: int, run: int) -> Law:
    """Fit the peaks of clusters, at the level of `wanted` rows or a lower one with more of them.

    Levels are tried until there are four times as many clusters as are needed.
    """
    most, level = clusters_of([], run), float(seen[-1])
    while len(most) < 4 * NEEDED and wanted <= max(1, len(seen) // 2):
        lower = _level(seen, wanted)
        found = clusters_of(np.flatnonzero(scores >= lower), run)
        most, level = (found, lower) if len(found) > len(most) else (most, level)
        wanted *= 2
    highest = [np.nanmax(scores[a : b + 1]) for a, b in zip(most.first, most.last, strict=True)]
    return Law.fit(np.sort(highest), level, len(seen))


def _bounded(
    rate: float, rows: float, confidence: float | None, lowest: float, told: Told
) -> float:
    """Return the rate to aim at; `rows` times a rate is the clusters that determine it."""
    if confidence is None:
        if rate < lowest:
            raise UsageError(
                f"cannot promise {told(rate)}: the calibration data support {told(lowest)} at the "
                f"lowest ({NEEDED:.0f} independent clusters of high scores); ask for more "
                "alarms, or calibrate on a longer slice"
            )
        return rate
    allowed, least = rate * rows, float(chi2.ppf(confidence, 2) / 2)
    if allowed <= least:
        raise UsageError(
            f"cannot promise {told(rate)} with {confidence:.0%} confidence: the calibration "
            f"data support {told(least / rows)} at the lowest; ask for more alarms, or calibrate "
            "on a longer slice"
        )
    count = brentq(lambda k: chi2.ppf(confidence, 2 * k + 2) / 2 - allowed, 0.0, allowed)
    return float(count) / rows
