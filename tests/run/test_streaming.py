"""A stream of a small detector: signals, clocks, states and cells."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seqcl.detection.detector import Detector
from seqcl.detection.live import Live
from seqcl.detection.series import Series
from seqcl.registry import Spec
from seqcl.run import streaming
from seqcl.run.detecting import RuleOptions

HEADER = "time,flow,heat"


def lines_of(rows: int, first: int = 0, start: str = "2024-01-01T00:00:00") -> list[str]:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(2_000, 2))[first : first + rows].round(4)
    stamps = np.datetime64(start) + np.arange(first, first + rows) * np.timedelta64(60, "s")
    return [f"{stamp},{a},{b}" for stamp, (a, b) in zip(stamps, values, strict=True)]


@pytest.fixture(scope="module")
def detector() -> Detector:
    found = Detector(scorers=(Spec("scorers", "mean_shift"),))
    found.fit([Series(np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32))])
    return found


@pytest.fixture
def run(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(streaming, "load_detector", lambda run: detector)
    return SimpleNamespace(
        channels=["flow", "heat"],
        manifest={"rate_hz": 1 / 60, "files": {"weights": "abc"}, "recordings": ["a"]},
        preset=SimpleNamespace(tree=lambda: {"data": {}}),
    )


def streamed(
    run: Any, rows: list[str], state: Path | None = None, every: str | None = None
) -> list[dict[str, Any]]:
    """Return the lines that a stream of `rows` wrote."""
    out = io.StringIO()
    source = io.BytesIO("\n".join([HEADER, *rows, ""]).encode())
    overrides = [] if every is None else [f"data.every={every}"]
    streaming.stream_lines(run, source, out, RuleOptions(), state=state, overrides=overrides)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def events(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in found if one.get("event") == kind]


def same_rows(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Check that rows, times and scores are those that are wanted, beside float32 rounding."""
    found, wanted = ([one for one in lines if "event" not in one] for lines in (found, wanted))
    assert [(one["row"], one["time"]) for one in found] == [
        (one["row"], one["time"]) for one in wanted
    ]
    scores = [[np.nan if one["score"] is None else one["score"] for one in x]
              for x in (found, wanted)]  # fmt: skip
    np.testing.assert_allclose(*scores, atol=2e-3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_batch_loses_no_row_that_was_read(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    rows, state = lines_of(400), tmp_path / "state.json"
    wanted = streamed(run, rows)
    real, pushes = Live.push, []

    def push(self: Live, values: Any) -> Any:
        pushes.append(len(values))
        os.kill(os.getpid(), number)
        return real(self, values)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Live, "push", push)
        found = streamed(run, rows[:300], state)
    assert signal.getsignal(number) is before
    assert json.loads(state.read_text())["live"]["rows"] == sum(pushes)
    found += streamed(run, rows[sum(pushes) :], state)
    same_rows(found, wanted)


def test_a_fault_in_the_middle_of_a_batch_leaves_the_last_whole_state(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, state = lines_of(60), tmp_path / "state.json"
    streamed(run, rows[:30], state)
    before = state.read_text()
    with monkeypatch.context() as patch:
        patch.setattr("seqcl.detection.health.Health.push", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            streamed(run, rows[30:], state)
    assert json.loads(state.read_text()) == json.loads(before)
