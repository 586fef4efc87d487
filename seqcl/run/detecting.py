"""Detect: from a detector's run and recordings to scores, a threshold and incidents."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqcl.data.dataset import Dataset
from seqcl.data.source import Skipped
from seqcl.detection.calibration import Calibration
from seqcl.detection.detector import Detector, Scores
from seqcl.detection.drift import Drift
from seqcl.detection.explain import Explanation
from seqcl.detection.health import Fault
from seqcl.detection.incidents import (
    Expected,
    Incident,
    Rules,
    expected_incidents,
    following,
    release_for,
    trace_incidents,
)
from seqcl.detection.rates import AskedRate, rows_per_day
from seqcl.detection.series import Series, series_of
from seqcl.errors import DataError, UsageError
from seqcl.files import atomic_write
from seqcl.run.build import threads
from seqcl.run.detector_run import open_for_detector
from seqcl.run.folder import Run
from seqcl.run.results import escaped

__all__ = [
    "USUAL_SHARE",
    "Detected",
    "RuleOptions",
    "detect_sources",
    "drift_line",
    "fault_line",
    "incident_line",
    "rules_for",
    "time_text",
    "write_incidents",
    "write_scores",
]

USUAL_SHARE = 0.005
"""Share of normal rows above the threshold, unless another is asked for."""


@dataclass(frozen=True, kw_only=True)
class RuleOptions:
    """What makes an incident, beside the threshold; lengths in rows."""

    far: str | None = None
    """False-alarm rate that is to be kept: ``0.5%`` of the rows, ``1/day``; None = 0.5 %, whether
    the calibration data can promise it or not."""
    min_length: int = 1
    merge_gap: int | None = None
    """None = what makes high scores of the calibration slice into clusters."""
    cool_down: int = 0
    adaptive: bool = False
    """Let the threshold follow the scores, so that alarms come at the rate asked for."""


@dataclass(frozen=True)
class Detected:
    """What was found in one recording."""

    series: Series
    scores: Scores
    p_values: npt.NDArray[np.float64]
    """(T,) upper-tail p-values of the fused scores."""
    rules: Rules
    thresholds: npt.NDArray[np.float64]
    """(T,) the threshold that each row met."""
    expected: Expected | None
    """Incidents to expect in as many normal rows; None where the threshold follows the scores."""
    promised: bool
    """Whether the calibration data support that."""
    incidents: tuple[Incident, ...]
    explanations: tuple[Explanation, ...]
    """One for each incident."""
    faults: tuple[Fault, ...]
    """Sensors that are missing or stuck, where it begins and where it ends."""
    drift: tuple[Drift, ...]
    """Where the scores stop looking like those of training, and where they do again."""

    @property
    def summary(self) -> str:
        """What was found, beside what normal operation gives."""
        expected, count = self.expected, len(self.incidents)
        if expected is None:
            return (
                f"{count} incident{'s' * (count != 1)} in {len(self.series):,} rows; {self._kept}"
            )
        doubt = "" if self.promised else " by a calibration that cannot promise it (see --adaptive)"
        return (
            f"{count} incident{'s' * (count != 1)} in {len(self.series):,} rows; as many normal "
            f"rows give {expected.alarms:.1f} ({expected.low:.0f} to {expected.high:.0f}){doubt}"
        )

    @property
    def _kept(self) -> str:
        """What was asked of a threshold that follows the scores, and what it kept."""
        following = self.rules.following
        assert following is not None
        known = int(np.isfinite(self.scores.fused).sum())
        if following.counts == "incidents":
            asked = following.rate * known
            return f"asked for are {asked:.1f}, by a threshold that follows the scores"
        above = int((self.scores.fused >= self.thresholds).sum())
        return (
            f"{above / known:.2%} of them reach a threshold that follows the scores, asked for are "
            f"{following.rate:.2%}"
        )

    def when(self, row: int) -> str | None:
        """Return the time of a row in ISO form; None without time stamps."""
        times = self.series.times
        return None if times is None else time_text(int(times[row]))

    @property
    def name(self) -> dict[str, str]:
        """What a line of JSON begins with: the recording, and its group where it has one."""
        group = self.series.group
        return {"id": self.series.id, **({} if group is None else {"group": group})}

    @property
    def alarms(self) -> npt.NDArray[np.bool_]:
        """(T,) rows inside an incident."""
        found = np.zeros(len(self.series), np.bool_)
        for incident in self.incidents:
            found[incident.start : incident.end + 1] = True
        return found


def detect_sources(
    run: Run,
    sources: Sequence[str],
    options: RuleOptions,
    *,
    overrides: Sequence[str] = (),
    causal: bool = False,
    cpu_threads: int | None = None,
) -> tuple[Detector, Dataset, Iterator[Detected]]:
    """Open everything, then yield one recording after another.

    One that cannot be scored joins `skipped` of the dataset; DataError where none can. Raises
    UsageError where the calibration cannot promise the rate that is asked for.
    """
    detector, dataset = open_for_detector(run, sources, overrides)

    def found() -> Iterator[Detected]:
        before = len(dataset.skipped)
        with threads(cpu_threads):
            for series in series_of(dataset):
                try:
                    one = _detected(detector, series, options, causal)
                except DataError as error:
                    dataset.skipped += (Skipped(series.id, str(error)),)
                else:
                    yield one
        skipped = dataset.skipped[before:]
        if skipped and len(skipped) == len(dataset):
            raise DataError(f"{skipped[0].path}: {skipped[0].reason}")

    return detector, dataset, found()


def rules_for(calibration: Calibration, options: RuleOptions, rows_a_day: float | None) -> Rules:
    """Turn a rate that is asked for into a threshold, and a release at twice its p-value.

    One that follows the scores is its own release: it rises with an incident, which is to end.

    Raises UsageError where the calibration cannot promise it to a threshold that stays, and for
    half of the rows or more.
    """
    asked = AskedRate(USUAL_SHARE, "share") if options.far is None else AskedRate.parse(options.far)
    rate = asked.per_row(rows_a_day)
    if rate >= 0.5:
        raise UsageError(
            f"false-alarm rate {options.far}: half of the rows or more cannot be told from the "
            f"others as incidents; ask for less than {asked.told(0.5, rows_a_day)}"
        )
    by_rows = asked.unit == "share"
    if options.adaptive or options.far is None:
        law = calibration.shares if by_rows else calibration.peaks
        threshold = law.score_at(rate)
    else:
        promise = calibration.threshold if by_rows else calibration.alarm_threshold
        threshold = promise(rate, told=lambda found: asked.told(found, rows_a_day))
    counts: Literal["rows", "incidents"] = "rows" if by_rows else "incidents"
    return Rules(
        threshold=threshold,
        release=None if options.adaptive else release_for(calibration, threshold),
        min_length=options.min_length,
        merge_gap=calibration.run - 1 if options.merge_gap is None else options.merge_gap,
        cool_down=options.cool_down,
        following=following(calibration, rate, counts) if options.adaptive else None,
    )


def _detected(detector: Detector, series: Series, options: RuleOptions, causal: bool) -> Detected:
    if len(series) < detector.reach:
        raise DataError(
            f"{len(series)} rows are too few for this detector, whose scores look back over "
            f"{detector.reach}; give a longer recording"
        )
    calibration = detector.calibrations["trailing" if causal else "centred"]
    rules = rules_for(
        calibration, options, rows_per_day(rate_hz=series.rate_hz, times=series.times)
    )
    scores = detector.score(series.values, causal=causal)
    measured = ~np.isnan(series.values).all(1)
    incidents, thresholds = trace_incidents(scores.fused, rules, calibration, measured=measured)
    known = int(np.isfinite(scores.fused).sum())
    peaks = [incident.peak for incident in incidents]
    explanations = tuple(detector.explain(series.values, peaks, causal=causal))
    return Detected(
        series,
        scores,
        calibration.p_values(scores.fused),
        rules,
        thresholds,
        None if options.adaptive else expected_incidents(calibration, rules, known),
        options.far is not None or calibration.lowest_share <= USUAL_SHARE,
        tuple(incidents),
        explanations,
        tuple(detector.faults(series.values)),
        tuple(detector.drift(scores, causal=causal)),
    )


def time_text(stamp: int) -> str:
    """Return nanoseconds since 1970 in ISO form, with as many decimals as there are."""
    return str(np.datetime64(stamp, "ns")).rstrip("0").rstrip(".")


def incident_line(
    name: Mapping[str, str],
    incident: Incident,
    explanation: Explanation | None,
    run: Run,
    when: Callable[[int], str | None],
    top: int = 5,
) -> dict[str, Any]:
    """Return one incident as plain values, for a line of JSON, `name` first.

    `when` gives the time of a row.
    """
    line: dict[str, Any] = {**name}
    for place in ("start", "end", "peak"):
        row = getattr(incident, place)
        line[place] = row
        if (stamp := when(row)) is not None:
            line[f"{place}_time"] = stamp
    line |= {"score": round(incident.score, 6), "p_value": incident.p_value, "rows": incident.above}
    if explanation is not None:
        order = np.argsort(-explanation.shares, kind="stable")[:top]
        line["channels"] = [
            {"name": run.channels[place], "share": round(float(explanation.shares[place]), 4)}
            for place in order.tolist()
            if explanation.shares[place] > 0
        ]
        line["nearest_normal"] = {
            "id": run.manifest["recordings"][explanation.recording], "row": explanation.start,
        }  # fmt: skip
    return line


def fault_line(fault: Fault, run: Run) -> dict[str, Any]:
    """Return a sensor's fault as plain values, for a line of JSON."""
    return {
        "event": fault.kind, "phase": fault.phase, "channel": run.channels[fault.channel],
        "row": fault.row, "rows": fault.rows,
    }  # fmt: skip


def drift_line(drift: Drift) -> dict[str, Any]:
    """Return where drift begins or ends as plain values, for a line of JSON."""
    return {
        "event": "drift", "phase": drift.phase, "row": drift.row,
        "discrepancy": round(drift.discrepancy, 3),
    }  # fmt: skip


def write_scores(found: Sequence[Detected], out: Path) -> None:
    """Write a CSV: id, row, score, p_value and alarm (0 or 1) of every row.

    With its group and its time where they are known, and the threshold that it met where that
    follows the scores.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    timed = any(one.series.times is not None for one in found)
    grouped = any(one.series.group is not None for one in found)
    follows = found[0].rules.following is not None
    writer.writerow([
        "id", *(["group"] if grouped else []), "row", *(["time"] if timed else []),
        "score", "p_value", "alarm", *(["threshold"] if follows else []),
    ])  # fmt: skip
    for one in found:
        name = [escaped(one.series.id), *([escaped(one.series.group or "")] if grouped else [])]
        alarms = one.alarms
        for row, (score, p_value) in enumerate(zip(one.scores.fused, one.p_values, strict=True)):
            time = [one.when(row) or ""] if timed else []
            known = np.isfinite(score)
            shown = (f"{score:.6g}", f"{p_value:.4g}") if known else ("", "")
            met = [f"{one.thresholds[row]:.6g}"] if follows else []
            writer.writerow([*name, row, *time, *shown, int(alarms[row]), *met])
    atomic_write(out, stream.getvalue())


def write_incidents(found: Sequence[Detected], run: Run, out: Path) -> None:
    """Write one line of JSON for each incident, then for sensors' faults and for drift."""
    lines = [
        json.dumps(
            incident_line(one.name, incident, explanation, run, one.when), ensure_ascii=False
        )
        for one in found
        for incident, explanation in zip(one.incidents, one.explanations, strict=True)
    ]
    lines += [
        json.dumps({**one.name, **line}, ensure_ascii=False)
        for one in found
        for line in (
            *(fault_line(fault, run) for fault in one.faults),
            *(drift_line(drift) for drift in one.drift),
        )
    ]
    atomic_write(out, "".join(line + "\n" for line in lines))
