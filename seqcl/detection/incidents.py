"""From scores of single rows to incidents: hysteresis, minimum length, merge gap, cool-down."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, replace
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
    "Following",
    "Incident",
    "IncidentTracker",
    "Rules",
    "expected_incidents",
    "find_incidents",
    "following",
    "release_for",
    "tenth",
    "trace_incidents",
]

_LEAST_STEP = 0.01
"""Of a score, in deviations: scores that hardly differ are no reason to stand still."""
_TENTHS = 5
"""Times what a tenth of the p-value is worth: the step of a threshold that follows the scores."""
_MOST_A_ROW = 0.5
"""Of the same, by which a row moves it at most: more, and it swings wider than the scores do."""
_FEWEST = 10
"""Incidents from which their count on the calibration slice is taken as it is."""


@dataclass(frozen=True)
class Following:
    """How a threshold moves so that alarms come at the rate asked for, whatever the scores do.

    An alarm raises it by `step`, and each row lowers it by ``step * rate``: online tracking of a
    quantile (Gibbs and Candès 2021, arXiv 2106.00170; Angelopoulos, Candès and Tibshirani 2023,
    arXiv 2307.16895). Where incidents are counted, a row that reaches the threshold raises it by as
    much instead, so that a state that lasts becomes usual and its incident ends. Up to the last
    alarm, T rows of any distribution have at most ``rate * T + 1 + (highest - first) / step``,
    where `first` is the threshold at the start and `highest` the highest score.
    """

    rate: float
    """Alarms a row, in (0, 1)."""
    step: float
    """Score by which one alarm raises the threshold."""
    counts: Literal["rows", "incidents"] = "incidents"
    """What an alarm is: a row that reaches the threshold, or an incident that is reported."""

    def __post_init__(self) -> None:
        if not (0 < self.rate < 1 and self.step > 0):
            raise ValueError(
                f"Following: rate {self.rate} must lie in (0, 1), step {self.step} above 0"
            )

    def moved(self, shift: float, reached: bool, reported: int) -> float:
        """Return the shift of the threshold after a row."""
        if self.counts == "rows":
            return shift + self.step * (reached - self.rate)
        return shift + self.step * (reported + (self.rate if reached else -self.rate))


@dataclass(frozen=True)
class Rules:
    """When an incident begins and ends. Lengths are in rows."""

    threshold: float
    """Score at which one begins; at first, where it is `following`."""
    release: float | None = None
    """Score below which it pauses, at most the threshold; None = the threshold."""
    min_length: int = 1
    """Rows from first to last of the shortest one that is reported."""
    merge_gap: int = 0
    """Rows in a row it may pause for; the threshold must be reached again to go on."""
    cool_down: int = 0
    """Rows after a reported one in which no other begins."""
    following: Following | None = None
    """How threshold and release move together; None = they stay."""

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
        self._shift = 0.0

    @property
    def threshold(self) -> float:
        """The score at which an incident begins in the next row."""
        return self.rules.threshold + self._shift

    @property
    def current(self) -> Incident | None:
        """The incident that has begun and is not over, however short."""
        return self._found

    @property
    def is_reported(self) -> bool:
        """Whether the last row is in an incident that has opened, and not in a pause of it."""
        return not self._paused and self._length >= self.rules.min_length

    def push(self, row: int, score: float, *, measured: bool = True) -> list[Change]:
        """Take the score of the next row and return what changed, in order.

        A row without a score (NaN), and one that is left out, is one below the release. One that
        nothing was measured in moves no threshold. Raises ValueError where `row` is not after the
        last.
        """
        if self._row is not None and row <= self._row:
            raise ValueError(f"row {row} after row {self._row}: rows must rise")
        changes = self._pass_time(row - 1)
        self._row = row
        threshold, low = self.threshold, self.rules.low + self._shift
        if self._found is None:
            if score >= threshold and row >= (self._free_from or row):
                self._found = Incident(row, row, row, float(score), 1)
                changes += self._announced(0)
        elif score >= (threshold if self._paused else low):
            self._found, before = self._grown(self._found, row, float(score)), self._length
            self._paused = False
            changes += self._announced(before)
        else:
            self._paused = True
            changes += self._pass_time(row)
        if self.rules.following is not None and measured and not math.isnan(score):
            opened = sum(change.kind == "opened" for change in changes)
            self._shift = self.rules.following.moved(self._shift, score >= threshold, opened)
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
        above = found.above + (score >= self.threshold)
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
            "shift": self._shift, "follows": self._follows,
        }  # fmt: skip

    @property
    def _follows(self) -> list[Any] | None:
        """What a shift of the threshold belongs to."""
        found = self.rules.following
        return None if found is None else [self.rules.threshold, *astuple(found)]

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; ArtefactError if it is none of ours.

        A threshold that followed the scores at another rate, or did not follow, begins anew.
        """
        try:
            found = None if state["found"] is None else Incident(**state["found"])
            row, paused, free_from = state["row"], state["paused"], state["free_from"]
            same = self._follows is not None and state.get("follows") == self._follows
            shift = float(state["shift"]) if same else 0.0
            if not math.isfinite(shift):
                raise ValueError(f"shift {shift}")
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"state of incidents: {error}; start without it") from error
        self._row, self._found, self._paused, self._free_from = row, found, paused, free_from
        self._shift = shift


def find_incidents(
    scores: npt.ArrayLike, rules: Rules, calibration: Calibration | None = None
) -> list[Incident]:
    """Return the incidents of `scores` (T,), as an `IncidentTracker` that sees them all does."""
    return trace_incidents(scores, rules, calibration)[0]


def trace_incidents(
    scores: npt.ArrayLike,
    rules: Rules,
    calibration: Calibration | None = None,
    *,
    measured: npt.ArrayLike | None = None,
) -> tuple[list[Incident], npt.NDArray[np.float64]]:
    """Return the incidents of `scores` (T,), and the threshold that each row met, (T,).

    `measured` (T,) is false where nothing was measured; None = everywhere something was.
    """
    scores = np.asarray(scores, np.float64)
    known = np.ones(len(scores), np.bool_) if measured is None else np.asarray(measured)
    tracker = IncidentTracker(rules, calibration)
    thresholds = np.full(len(scores), rules.threshold)
    changes = []
    for row, score in _worth_a_look(scores, rules):
        thresholds[row] = tracker.threshold
        changes += tracker.push(row, score, measured=bool(known[row]))
    changes += tracker.finish()
    return [change.incident for change in changes if change.kind == "closed"], thresholds


def _worth_a_look(scores: npt.NDArray[np.float64], rules: Rules) -> Iterator[tuple[int, float]]:
    """Yield the rows at or above the release; the tracker knows what those left out mean.

    All of them, where the threshold moves with each.
    """
    rows = np.flatnonzero(scores >= rules.low)
    if rules.following is not None:
        rows = np.arange(len(scores))
    yield from zip(rows.tolist(), scores[rows].tolist(), strict=True)


def release_for(calibration: Calibration, threshold: float) -> float:
    """Return the score of twice the threshold's p-value, the median at least: incidents end."""
    twice = min(0.5, 2 * float(calibration.p_values(threshold)))
    median = float(np.nanmedian(calibration.scores))
    return min(threshold, max(median, calibration.shares.score_at(twice)))


def following(
    calibration: Calibration, rate: float, counts: Literal["rows", "incidents"]
) -> Following:
    """Return how a threshold follows the scores: after an alarm the next needs 1e-5 of its p.

    A smaller step lets more alarms through where the scores jump, until the threshold is as high;
    with one without end alarms come at equal intervals, whatever the scores are.
    """
    return Following(rate, min(_TENTHS, _MOST_A_ROW / rate) * tenth(calibration), counts)


def tenth(calibration: Calibration) -> float:
    """Return what a tenth of the p-value is worth: the score from .1 to .01 of the slice's rows."""
    found = calibration.shares.score_at(0.01) - calibration.shares.score_at(0.1)
    return max(found, _LEAST_STEP)


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
