"""Several recordings through a detector: short ones, unknown labels, rows without a score."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seqcl.data.source import Skipped
from seqcl.detection.detector import Detector
from seqcl.detection.series import Series
from seqcl.errors import DataError
from seqcl.registry import Spec
from seqcl.run import detecting, judging
from seqcl.run.detecting import RuleOptions, detect_sources
from seqcl.run.detection_report import report_detection
from seqcl.run.judging import judge

RUN: Any = SimpleNamespace(
    path=Path("run"), channels=("a", "b"), manifest={"recordings": ["train"]}
)


class Recordings(list):  # type: ignore[type-arg]
    """Stands for a dataset: its recordings and what it skipped."""

    skipped: tuple[Skipped, ...] = ()


def noise(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def detector() -> Detector:
    found = Detector(window=16, weights="equal", scorers=(Spec("scorers", "mean_shift"),))
    found.fit([Series(noise(400))])
    return found


@pytest.fixture
def opened(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Recordings:
    """Return the recordings that both commands open, none so far."""
    recordings = Recordings()
    for place in (detecting, judging):
        monkeypatch.setattr(place, "open_for_detector", lambda *_: (detector, recordings))
        monkeypatch.setattr(place, "series_of", lambda dataset: iter(dataset))
    return recordings


def test_a_recording_that_is_too_short_is_skipped_by_name(opened: Recordings) -> None:
    opened += [Series(noise(3), "short"), Series(noise(200), "long")]
    found = list(detect_sources(RUN, [], RuleOptions())[2])
    assert [one.series.id for one in found] == ["long"]
    assert [one.path for one in opened.skipped] == ["short"]
    assert "3 rows are too few" in opened.skipped[0].reason


def test_where_all_are_too_short_the_first_is_named(opened: Recordings) -> None:
    opened += [Series(noise(3), "one"), Series(noise(3), "two")]
    with pytest.raises(DataError, match="one: 3 rows are too few"):
        list(detect_sources(RUN, [], RuleOptions())[2])


def test_rows_with_an_unknown_label_are_in_no_measure(opened: Recordings) -> None:
    values, labels = noise(300, 1), np.zeros(300, np.int64)
    values[100:110] += 4
    values[200:210] += 9
    labels[100:110] = 1
    opened.append(Series(values, "wrong", labels=labels.copy()))
    (wrong, _, _), _ = judge(RUN, [])
    labels[180:240] = -1
    opened[:] = [Series(values, "unknown", labels=labels)]
    (unknown, _, _), _ = judge(RUN, [])
    assert unknown.average_precision > wrong.average_precision + 0.1


@pytest.mark.filterwarnings("error")
def test_rows_without_any_trailing_score_are_skipped_without_a_warning(
    opened: Recordings, detector: Detector, tmp_path: Path
) -> None:
    opened += [Series(np.full((3, 2), np.nan, np.float32), "silent"), Series(noise(200), "long")]
    found = list(detect_sources(RUN, [], RuleOptions(), causal=True)[2])
    assert [one.series.id for one in found] == ["long"]
    assert [one.path for one in opened.skipped] == ["silent"]
    report_detection(RUN, detector, found, tmp_path / "page.html")
    assert "silent" not in (tmp_path / "page.html").read_text()
