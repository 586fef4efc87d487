"""A detector on a stream: rows in, a result for each, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqcl.detection.detector import Detector
from seqcl.detection.drift import Drift
from seqcl.detection.explain import Explanation
from seqcl.detection.health import Fault
from seqcl.detection.incidents import Change, IncidentTracker, Rules
from seqcl.errors import ArtefactError

__all__ = ["Live", "Result"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """What one row did."""

    row: int
    score: float
    """Trailing score; NaN while too few rows have come."""
    p_value: float
    """Upper-tail p-value of it; NaN likewise."""
    threshold: float
    alarm: bool
    """Whether the row is in an incident that is reported by now: long enough, after the cool-down,
    its score above the release."""
    changes: tuple[Change, ...]
    explanations: tuple[Explanation | None, ...]
    """Of each change: what the incident's highest row so far comes from."""
    faults: tuple[Fault, ...]
    drift: Drift | None


class Live:
    """Scores rows as they come, as ``Detector.score(values, causal=True)`` scores a file.

    Args:
        detector: fitted.
        rules: when an incident begins and ends.
    """

    def __init__(self, detector: Detector, rules: Rules) -> None:
        self.detector = detector
        self.calibration = detector.calibrations["trailing"]
        self.rules = rules
        self.tracker = IncidentTracker(rules, self.calibration)
        self.health = detector.health()
        self.drift = detector.drift_watch(causal=True)
        self.rows = 0
        channels = len(detector.scaling.state["mean"])
        self._context = torch.zeros(0, channels)
        self._held: Floats | None = None
        self._peak: torch.Tensor | None = None

    def push(self, values: Floats) -> list[Result]:
        """Take the next rows (m, C), NaN = missing; returns a result for each."""
        held = self.detector.scaling.held(values, self._held)
        self._held = held[-1]
        context = torch.cat([self._context, self.detector.scaling.scaled(held)])
        found = self.detector.score_last(context, len(values))
        scores = found.fused
        known = ~np.isnan(scores)
        p_values = np.full(len(scores), np.nan)
        p_values[known] = self.calibration.p_values(scores[known])
        results = []
        for place, row_values in enumerate(values):
            threshold = self.tracker.threshold
            measured = not np.isnan(row_values).all()
            changes = tuple(self.tracker.push(self.rows, float(scores[place]), measured=measured))
            over = [self.explain() for change in changes if change.kind == "closed"]
            self._remember(context, len(context) - len(values) + place)
            begun = [self.explain() for change in changes if change.kind == "opened"]
            results.append(
                Result(
                    self.rows, float(scores[place]), float(p_values[place]), threshold,
                    self.tracker.is_reported, changes, (*over, *begun),
                    tuple(self.health.push(self.rows, row_values)),
                    self.drift.push(self.rows, found.parts[place]) if self.drift else None,
                )
            )  # fmt: skip
            self.rows += 1
        self._context = context[-(self.detector.reach + self.detector.window) :].clone()
        return results

    def explain(self) -> Explanation | None:
        """Tell what the last incident's peak comes from; None before there was one."""
        if self._peak is None:
            return None
        return self.detector.explain_scaled(self._peak, len(self._peak) - 1, causal=True)

    def _remember(self, context: torch.Tensor, at: int) -> None:
        """Keep what was seen up to the highest row of the incident that is open."""
        found = self.tracker.current
        if found is not None and found.peak == self.rows:
            first = max(0, at + 1 - self.detector.reach - self.detector.window)
            self._peak = context[first : at + 1].clone()

    def state(self) -> dict[str, Any]:
        """Return all that it remembers, in plain values (JSON)."""
        return {
            "rows": self.rows,
            "context": self._context.tolist(),
            "held": None if self._held is None else self._held.tolist(),
            "peak": None if self._peak is None else self._peak.tolist(),
            "incident": self.tracker.state(),
            "health": self.health.state(),
            "drift": self.drift.state() if self.drift else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; raises ArtefactError where it is none, or of another detector."""
        channels = self._context.shape[1]
        try:
            context = torch.tensor(state["context"], dtype=torch.float32).reshape(-1, channels)
            held = None if state["held"] is None else np.array(state["held"], np.float32)
            peak = None if state["peak"] is None else torch.tensor(state["peak"])
            rows = index(state["rows"])
            last = state["incident"]["row"]
            if rows < 0 or (last is not None and index(last) >= rows):
                raise ValueError(f"row {last} of {rows}")
            if held is not None and held.shape != (channels,):
                raise ValueError(f"{held.shape} values and {channels} channels")
            if peak is not None and (peak.dim() != 2 or peak.shape[1] != channels):
                raise ValueError(f"peak of {tuple(peak.shape)} and {channels} channels")
            self.tracker.restore(state["incident"])
            self.health.restore(state["health"])
            if self.drift:
                self.drift.restore(state["drift"])
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ArtefactError(
                f"state of the stream: does not fit this run ({error}); start without it"
            ) from error
        self._context, self._held, self._peak, self.rows = context, held, peak, rows
