"""What an earlier detector finds usual in new recordings: what a later one may learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from seqcl.detection.detector import Detector
from seqcl.detection.incidents import Following, Rules, tenth, trace_incidents
from seqcl.detection.series import Series

__all__ = ["usual_stretches"]

_UNUSUAL = 0.005
"""Share of rows that reach the threshold."""
_WINDOWS, _FEWEST = 6, 64
"""Windows and rows of the shortest stretch: what a detector can be fitted to."""


def usual_stretches(detector: Detector, series: Series) -> Iterator[Series]:
    """Yield the stretches of a recording in which scores are low, each named by its first row.

    Between them lie the incidents of a threshold that follows the scores, so that a state that
    lasts becomes usual, and half a window on either side of them, whose windows hold some of it.
    """
    least = max(_FEWEST, _WINDOWS * detector.window)
    if len(series) < max(least, detector.reach):
        return
    calibration = detector.calibrations["centred"]
    threshold = calibration.shares.score_at(_UNUSUAL)
    step = tenth(calibration) / detector.window  # a fault ends before it is usual
    follow = Following(_UNUSUAL, step, "rows")
    rules = Rules(threshold, merge_gap=calibration.run - 1, following=follow)
    scores, measured = detector.score(series.values).fused, ~np.isnan(series.values).all(1)
    incidents, _ = trace_incidents(scores, rules, measured=measured)
    half, first = detector.window // 2, 0
    for start, end in [*((one.start, one.end) for one in incidents), (len(series) + half, 0)]:
        if start - half - first >= least:
            yield _part(series, first, start - half)
        first = end + 1 + half


def _part(series: Series, first: int, stop: int) -> Series:
    rows = slice(first, stop)
    name = series.id if not first else f"{series.id} from row {first}"
    return replace(
        series,
        id=name,
        values=np.ascontiguousarray(series.values[rows]),
        times=None if series.times is None else series.times[rows],
        labels=None if series.labels is None else series.labels[rows],
    )
