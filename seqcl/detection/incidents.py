"""From scores of single rows to incidents: hysteresis, minimum length, merge gap, cool-down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import nbinom

from seqcl.detection.calibration import Calibration
from seqcl.errors import ArtefactError

__all__ = [
    "Change",
    "Expected",
    "Incident",
    "IncidentTracker",
    "Rules",
    "expected_incidents",
    "find_incidents",
    "release_for",
]

_FEWEST = 10
"""Incidents from which their count on the calibration slice is taken as it is."""


@dataclass(frozen=True)
class Rules:
    """When an incident begins and ends. Lengths are in rows."""

    threshold: float
    """Score at which one begins."""
    release: float | None = None
    """Score below which it pauses, at most the threshold; None = the threshold."""
    min_length: int = 1
    """Rows from first to last of the shortest one that is reported."""
    merge_gap: int = 0
    """Rows in a row it may pause for; the threshold must be reached again to go on."""
    cool_down: int = 0
    """Rows after a reported one in which no other begins."""

    def __post_init__(self) -> None:
        if not self.low <= self.threshold:  # NaN too
            raise ValueError(f"Rules: release {self.low} must not exceed {self.threshold}")
        if self.min_length < 1 or self.merge_gap < 0 or self.cool_down < 0:
            raise ValueError("Rules: min_length is at least 1, merge_gap and cool_down at least 0")

    @property
    def low(self) -> float:
        """Return the level of release."""
        return self.threshold if self.release is None else self.release


@dataclass(frozen=True)
class Incident:
    """One stretch of rows, both ends included."""

    start: int
    end: int
    """Its last row at or above the release, as far as is known."""
    peak: int
    """Its row with the highest score, the first of several."""
    score: float
    """The highest score; higher = more anomalous."""
    above: int
    """Its rows at or above the threshold."""
    p_value: float | None = None
    """Of the highest score; None without a calibration."""


@dataclass(frozen=True)
class Change:
    """What a row did: an incident has reached its minimum length, or is over."""

    kind: Literal["opened", "closed"]
    incident: Incident


@dataclass(frozen=True)
class Expected:
    """Incidents to expect, and between which two numbers 95 % of equal stretches have theirs."""

    alarms: float
    low: float
    high: float


class IncidentTracker:
    """Finds incidents row by row, in memory that does not grow.

    Args:
        rules: when one begins and ends.
        calibration: gives p-values; None = without.
    """

    def __init__(self, rules: Rules, calibration: Calibration | None = None) -> None:
        self.rules = rules
        self.calibration = calibration
        self._row: int | None = None
        self._found: Incident | None = None
        self._paused = False
        self._free_from: int | None = None

    @property
    def current(self) -> Incident | None:
        """The incident that has begun and is not over, however short."""
        return self._found

    def push(self, row: int, score: float) -> list[Change]:
        """Take the score of the next row and return what changed, in order.

        A row without a score (NaN), and one that is left out, is one below the release. Raises
        ValueError where `row` is not after the last.
        """
        if self._row is not None and row <= self._row:
            raise ValueError(f"row {row} after row {self._row}: rows must rise")
        changes = self._pass_time(row - 1)
        self._row = row
        if self._found is None:
            if score >= self.rules.threshold and row >= (self._free_from or row):
                self._found = Incident(row, row, row, float(score), 1)
                changes += self._announced(0)
        elif score >= (self.rules.threshold if self._paused else self.rules.low):
            self._found, before = self._grown(self._found, row, float(score)), self._length
            self._paused = False
            changes += self._announced(before)
        else:
            self._paused = True
            changes += self._pass_time(row)
        return changes

    def finish(self) -> list[Change]:
        """Close the incident that is open, where the rows end."""
        found, self._found, self._paused = self._found, None, False
        if found is None or found.end - found.start + 1 < self.rules.min_length:
            return []
        self._free_from = found.end + self.rules.cool_down + 1
        return [Change("closed", self._with_p(found))]

    def _pass_time(self, row: int) -> list[Change]:
        """Close the incident if it has paused too long once `row` is over."""
        if self._found is None or row - self._found.end <= self.rules.merge_gap:
            self._paused |= self._found is not None and row > self._found.end
            return []
        return self.finish()

    def _grown(self, found: Incident, row: int, score: float) -> Incident:
        above = found.above + (score >= self.rules.threshold)
        peak, best = (row, score) if score > found.score else (found.peak, found.score)
        return replace(found, end=row, above=above, peak=peak, score=best)

    @property
    def _length(self) -> int:
        return 0 if self._found is None else self._found.end - self._found.start + 1

    def _announced(self, before: int) -> list[Change]:
        if self._found is None or not before < self.rules.min_length <= self._length:
            return []
        return [Change("opened", self._with_p(self._found))]

    def _with_p(self, incident: Incident) -> Incident:
        if self.calibration is None:
            return incident
        return replace(incident, p_value=float(self.calibration.p_values(incident.score)))

    def state(self) -> dict[str, Any]:
        """Return all that it remembers, in plain values (JSON)."""
        found = None if self._found is None else asdict(self._found)
        return {
            "row": self._row, "found": found,
            "paused": self._paused, "free_from": self._free_from,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; ArtefactError if it is none of ours."""
        try:
            found = None if state["found"] is None else Incident(**state["found"])
            row, paused, free_from = state["row"], state["paused"], state["free_from"]
        except (KeyError, TypeError) as error:
            raise ArtefactError(f"state of incidents: {error}; start without it") from error
        self._row, self._found, self._paused, self._free_from = row, found, paused, free_from


def find_incidents(
    scores: npt.ArrayLike, rules: Rules, calibration: Calibration | None = None
) -> list[Incident]:
    """Return the incidents of `scores` (T,), as an `IncidentTracker` that sees them all does."""
    tracker = IncidentTracker(rules, calibration)
    changes = [
        *(
            change
            for row, score in _worth_a_look(scores, rules)
            for change in tracker.push(row, score)
        ),
        *tracker.finish(),
    ]
    return [change.incident for change in changes if change.kind == "closed"]


def _worth_a_look(scores: npt.ArrayLike, rules: Rules) -> Iterator[tuple[int, float]]:
    """Yield the rows at or above the release; the tracker knows what those left out mean."""
    scores = np.asarray(scores, np.float64)
    rows = np.flatnonzero(scores >= rules.low)
    yield from zip(rows.tolist(), scores[rows].tolist(), strict=True)


def release_for(calibration: Calibration, threshold: float) -> float:
    """Return the score of twice the threshold's p-value, the median at least: incidents end."""
    twice = min(0.5, 2 * float(calibration.p_values(threshold)))
    median = float(np.nanmedian(calibration.scores))
    return min(threshold, max(median, calibration.shares.score_at(twice)))


def expected_incidents(calibration: Calibration, rules: Rules, rows: int) -> Expected:
    """Return how many incidents `rows` normal rows hold, from those of the calibration slice.

    Where a high threshold leaves fewer than ten there, the peaks of clusters tell how many, times
    the incidents for each cluster at the level at which these are counted. The interval is that
    of a Poisson count whose rate is known from another one (Jeffreys' prior).
    """
    count = float(_count(calibration, rules))
    level = calibration.shares.score_at(calibration.share)
    if count < _FEWEST and rules.threshold > level:
        common = replace(rules, threshold=level, release=release_for(calibration, level))
        clusters = np.exp(calibration.peaks.log_at([level, rules.threshold]))
        count = _count(calibration, common) * float(clusters[1] / clusters[0])
    ratio = rows / calibration.rows
    low, high = nbinom.ppf([0.025, 0.975], count + 0.5, 1 / (1 + ratio))
    return Expected(count * ratio, float(low), float(high))


@lru_cache(maxsize=16)
def _count(calibration: Calibration, rules: Rules) -> int:
    return len(find_incidents(calibration.scores, rules))
