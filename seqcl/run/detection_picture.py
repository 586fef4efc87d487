"""The picture of a detection: scores, thresholds, incidents and the channels they are in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from seqcl.detection.detector import Detector
from seqcl.errors import UsageError
from seqcl.report.timeline import Timeline, Track, write_timelines
from seqcl.run.detecting import Detected
from seqcl.run.detection_report import top_channels
from seqcl.run.embedding import check_output
from seqcl.run.folder import Run

__all__ = ["check_picture", "picture_detection"]

_RECORDINGS = 12
"""Recordings that one picture has room for."""


def check_picture(out: Path | None) -> None:
    """Raise UsageError, before any work, where the picture cannot be drawn or written."""
    check_output("--picture", out, (".png", ".svg"))
    if out is not None and find_spec("matplotlib") is None:
        raise UsageError(
            "--picture needs matplotlib, which is not installed: pip install 'seqcl[picture]'"
        )


def picture_detection(
    run: Run, detector: Detector, found: Sequence[Detected], out: Path
) -> str | None:
    """Write the picture (``.png`` or ``.svg``); says which recordings it leaves out, if any.

    Of many recordings it shows the twelve that rise highest above their thresholds.
    """
    above = [np.nanmax(one.scores.fused - one.thresholds, initial=-np.inf) for one in found]
    chosen = sorted(np.argsort(above, kind="stable")[::-1][:_RECORDINGS].tolist())
    write_timelines(out, [_timeline(run, detector, found[place]) for place in chosen])
    if len(chosen) == len(found):
        return None
    return (
        f"{out} shows {len(chosen)} of {len(found)} recordings, those highest above the threshold; "
        "--report has all of them"
    )


def _timeline(run: Run, detector: Detector, one: Detected) -> Timeline:
    labels = one.series.labels
    places, shares = top_channels(detector, one)
    total = shares.sum()
    return Timeline(
        title=one.series.id,
        notes=[*_when(one), one.summary],
        score=one.scores.fused,
        threshold=one.thresholds,
        incidents=[(found.start, found.end, found.peak) for found in one.incidents],
        tracks=[
            Track(
                run.channels[place],
                _share(shares[place] / total) if one.incidents else "",
                one.series.values[:, place],
            )
            for place in places
        ],
        times=one.series.times,
        labelled=None if labels is None else labels > 0,
    )


def _share(share: float) -> str:
    return f"{share:.0%} of the incidents' scores" if share >= 0.01 else ""


def _when(one: Detected) -> list[str]:
    first, last = one.when(0), one.when(len(one.series) - 1)
    return [] if first is None else [f"{first} to {last}".replace("T", " ")]
