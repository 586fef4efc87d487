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
from seqcl.errors import ArtefactError, DataError, LockedError, UsageError
from seqcl.files import locked_file
from seqcl.registry import Spec
from seqcl.run import stream_rows, streaming
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


def moved(row: str, stamp: str) -> str:
    return f"{stamp},{row.split(',', 1)[1]}"


def test_one_stamp_in_the_future_costs_a_few_rows(run: Any, tmp_path: Path) -> None:
    rows, state = lines_of(60), tmp_path / "state.json"
    rows[30] = moved(rows[30], "2099-01-01T00:00:00")
    found = streamed(run, rows[:33], state)
    found += streamed(run, rows[33:45], state)
    assert [one["reason"] for one in events(found, "left_out")] == ["it is late"] * 7
    (clock,) = events(found, "clock")
    assert (clock["from"], clock["to"]) == ("2099-01-01T00:00:00", "2024-01-01T00:37:00")
    times = [one["time"] for one in found if "event" not in one]
    assert times[-2:] == ["2024-01-01T00:43:00", "2024-01-01T00:44:00"]


@pytest.mark.parametrize("stamp", ["2024-01-04T00:00:00", "2099-01-01T00:00:00"])
def test_one_stamp_in_the_future_fills_no_interval(run: Any, stamp: str) -> None:
    rows = lines_of(60)
    rows[30] = moved(rows[30], stamp)
    found = streamed(run, rows, every="1min")
    (left,) = events(found, "left_out")
    assert left["reason"] == "its time is far ahead of that of the row after it"
    assert not events(found, "clock")
    times = [one["time"] for one in found if "event" not in one]
    assert (len(times), times[-1]) == (60, "2024-01-01T00:59:00")


def test_after_a_long_silence_the_row_that_ends_it_counts(run: Any, tmp_path: Path) -> None:
    rows = lines_of(600)
    del rows[100:500]
    whole = streamed(run, rows, every="1min")
    assert not events(whole, "left_out")
    assert len([one for one in whole if "event" not in one]) == 600
    state = tmp_path / "state.json"
    found = streamed(run, rows[:101], state, every="1min")  # the stream ends with that row
    found += streamed(run, rows[101:], state, every="1min")
    same_rows(found, [one for one in whole if one.get("time") != "2024-01-01T09:59:00"])


def test_a_clock_that_is_set_back_is_followed(run: Any) -> None:
    rows = lines_of(30, start="2024-01-01T05:00:00")
    rows += lines_of(30, first=30, start="2024-01-01T04:00:00")
    found = streamed(run, rows)
    assert len(events(found, "left_out")) == 5
    assert len(events(found, "clock")) == 1
    assert len([one for one in found if "event" not in one]) == 55


@pytest.mark.parametrize(
    ("first", "names"),
    [
        (["2024-01-01 00:00:00", "1.5", "2"], ["timestamp", "flow", "heat"]),
        (["1704067200", "1.5", ""], ["timestamp", "flow", "heat"]),
        (["1.5", "2"], ["flow", "heat"]),
        (["time", "heat", "flow"], ["time", "heat", "flow"]),
    ],
)
def test_only_what_can_be_a_time_is_one_where_no_line_names_the_columns(
    run: Any, first: list[str], names: list[str]
) -> None:
    assert stream_rows._names_of(first, run, ".", None) == names


@pytest.mark.parametrize("every_s", [6, 60, 80, 180])
def test_another_rate_than_that_of_training_is_told_once(run: Any, every_s: int) -> None:
    rows = [
        moved(row, str(np.datetime64("2024-01-01T00:00:00") + place * every_s))
        for place, row in enumerate(lines_of(60))
    ]
    told = [line["text"] for line in events(streamed(run, rows), "note")]
    wrong = [f"rows come every {every_s} s and those of training came every 60 s"]
    assert [text.split(":")[0] for text in told] == (wrong if every_s in (6, 180) else [])


def test_late_rows_in_no_order_move_no_clock(run: Any) -> None:
    rows = lines_of(30)
    found = streamed(run, [*rows, *reversed(rows[:20])])
    assert len(events(found, "left_out")) == 20
    assert events(found, "clock") == []


DAMAGES: list[Any] = [
    lambda state: [1],
    lambda state: None,
    lambda state: 3,
    lambda state: "x",
    lambda state: {"run": state["run"]},
    *[lambda state, key=key: {k: v for k, v in state.items() if k != key}
      for key in ("live", "times", "last_time")],
    lambda state: {**state, "live": 3},
    lambda state: {**state, "live": [1]},
    lambda state: {**state, "last_time": "noon"},
    lambda state: {**state, "times": [1, 2]},
    lambda state: {**state, "grid": 3},
    *[lambda state, change=change: {**state, "live": {**state["live"], **change}}
      for change in (
          {"health": {"last": [1.0, 1.0], "missing": [0], "stuck": [1, 1]}},
          {"health": None}, {"incident": [1]}, {"rows": 3}, {"rows": "x"}, {"held": [1.0]},
          {"held": 3}, {"peak": [1.0]}, {"context": "x"},
      )],
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused_in_one_line(run: Any, tmp_path: Path, damage: Any) -> None:
    rows, state = lines_of(30), tmp_path / "state.json"
    streamed(run, rows[:20], state)
    state.write_text(json.dumps(damage(json.loads(state.read_text()))))
    with pytest.raises(ArtefactError, match="start without it") as caught:
        streamed(run, rows[20:], state)
    assert "\n" not in str(caught.value)


def test_a_state_that_cannot_be_written_is_told_before_a_row_is_read(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        streamed(run, lines_of(3), tmp_path / "none" / "state.json")

    def full(path: Path, data: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(streaming, "atomic_write", full)
    with pytest.raises(UsageError, match=r"cannot be written \(No space left on device\)"):
        streamed(run, lines_of(3), tmp_path / "state.json")


def test_a_save_that_fails_in_between_is_a_note(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = streaming.atomic_write, []

    def full(path: Path, data: str) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(streaming, "atomic_write", full)
    monkeypatch.setattr(streaming, "_SAVED_EVERY_S", -1.0)
    found = streamed(run, lines_of(30), tmp_path / "state.json")
    (failed,) = events(found, "note")
    assert failed["text"].endswith(": is not written (No space left on device)")
    assert json.loads((tmp_path / "state.json").read_text())["live"]["rows"] == 30


@pytest.mark.filterwarnings("error")
def test_cells_are_missing_and_numbers_as_in_files(run: Any) -> None:
    rows = lines_of(12)
    cells = ["NA", "null", "NULL", "nan", " NaN ", "", "inf", "-1e39", "1_000", "n/a"]
    rows[:10] = [f"{row.rsplit(',', 1)[0]},{cell}" for row, cell in zip(rows, cells, strict=False)]
    found = streamed(run, rows)
    assert len([one for one in found if "event" not in one]) == 10
    assert [one["reason"][-7:] for one in events(found, "left_out")] == ["'1_000'", ": 'n/a'"]
    assert [one["channels"] for one in events(found, "infinite")] == [["heat"], ["heat"]]


@pytest.mark.parametrize("every", [None, "2min"])
@pytest.mark.parametrize("again", [0, 20])
def test_rows_that_come_once_more_after_a_restart_are_passed_over(
    run: Any, tmp_path: Path, every: str | None, again: int
) -> None:
    rows, state = lines_of(60), tmp_path / "state.json"
    run.manifest["rate_hz"] = 1 / 60 if every is None else 1 / 120
    whole = streamed(run, rows, tmp_path / "whole.json", every)
    found = streamed(run, rows[:31], state, every)
    more = streamed(run, rows[again:], state, every)
    assert len(events(more, "note")) == 1
    assert "were seen before" in events(more, "note")[0]["text"]
    assert not events(more, "left_out") + events(more, "clock")
    same_rows(found + more, whole)


def test_a_clock_may_be_set_back_once_newer_rows_came_after_a_restart(
    run: Any, tmp_path: Path
) -> None:
    rows, state = lines_of(40), tmp_path / "state.json"
    streamed(run, rows[:20], state)
    found = streamed(run, rows[15:30] + rows[10:30], state)
    assert len(events(found, "clock")) == 1
    assert len([one for one in found if "event" not in one]) == 10 + 20 - 5


def test_a_clock_set_back_to_before_the_stream_began_is_followed_after_a_restart(
    run: Any, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    streamed(run, lines_of(30, start="2024-02-01T00:00:00"), state)
    found = streamed(run, lines_of(25, 30, start="2024-01-01T00:00:00"), state)
    assert len(events(found, "clock")) == 1
    assert not events(found, "note")
    rows = [one["row"] for one in found if "event" not in one]
    assert rows == list(range(30, 30 + 25 - 5))


def test_rows_that_are_older_than_the_memory_are_passed_over_with_a_warning(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_TIMES", 5)
    rows, state = lines_of(60), tmp_path / "state.json"
    streamed(run, rows[:40], state)
    found = streamed(run, rows[10:], state)
    (note,) = events(found, "note")
    assert "passed over until 2024-01-01T00:39:00" in note["text"]
    assert "start without --state" in note["text"]
    assert [one["row"] for one in found if "event" not in one] == list(range(40, 60))


def test_a_state_is_of_one_stream_at_a_time(run: Any, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    streamed(run, lines_of(10), state)
    told = rf"--state {state}: process \d+ is writing it; .* another --state"
    with locked_file(state, "--state"), pytest.raises(LockedError, match=told):
        streamed(run, lines_of(10, 10), state)
    assert len(streamed(run, lines_of(10, 10), state)) == 10


def test_a_grid_of_another_width_than_that_of_training_is_refused(run: Any) -> None:
    with pytest.raises(UsageError, match=r"data.every=5min: .* rows every 60s; give that"):
        streamed(run, lines_of(12), every="5min")
    assert streamed(run, lines_of(12), every="60s")


def test_a_gap_on_a_grid_is_told_with_the_interval_after_it(run: Any) -> None:
    rows = lines_of(30)
    found = streamed(run, rows[:10] + rows[13:], every="1min")
    (gap,) = events(found, "gap")
    after = next(one for one in found if one.get("time") == "2024-01-01T00:13:00")
    assert gap["row"] == after["row"] == 13


def test_an_alarm_of_a_stream_is_a_row_of_an_incident_that_is_reported(run: Any) -> None:
    rows = lines_of(700)
    for at in range(400, 600, 100):
        for row in range(at, at + at // 10 - 39):
            rows[row] = f"{rows[row].split(',')[0]},2,-2"
    seen = {}
    for least in (1, 4):
        out, source = io.StringIO(), io.BytesIO("\n".join([HEADER, *rows, ""]).encode())
        streaming.stream_lines(run, source, out, RuleOptions(min_length=least, merge_gap=0))
        found = [json.loads(line) for line in out.getvalue().splitlines()]
        opened, closed = events(found, "incident_opened"), events(found, "incident_closed")
        assert len(opened) == len(closed) > 0
        alarms = [one["row"] for one in found if one.get("alarm")]
        assert alarms == [
            row
            for first, last in zip(opened, closed, strict=True)
            for row in range(first["end"], last["end"] + 1)
        ]
        assert all(one["end"] - one["start"] + 1 == least for one in opened)
        seen[least] = set(alarms)
    assert seen[4] < seen[1]


def test_a_clock_that_was_wrong_before_a_restart_is_followed_after_it(
    run: Any, tmp_path: Path
) -> None:
    rows, state = lines_of(40), tmp_path / "state.json"
    streamed(run, [*rows[:20], moved(rows[20], "2099-01-01T00:00:00")], state)
    found = streamed(run, rows[21:], state)
    assert len(events(found, "clock")) == 1


def test_events_of_a_backlog_stand_before_the_line_of_their_row(run: Any) -> None:
    rows = lines_of(50)
    rows[20] = rows[20].rsplit(",", 1)[0] + ",inf"
    rows[30] = "what is this?"
    del rows[40:43]
    found = streamed(run, rows)
    assert [events(found, kind)[-1]["row"] for kind in ("infinite", "left_out", "gap")] == [
        20, 30, 39,
    ]  # fmt: skip
    at = [one["row"] for one in found if "event" not in one or one["event"] in ("gap", "infinite")]
    assert at == sorted(at)
    for place, one in enumerate(found):
        if one.get("event") in ("infinite", "left_out", "gap"):
            rows_after = [later["row"] for later in found[place:] if "event" not in later]
            assert rows_after[0] == one["row"]


def lines_out(run: Any, text: str, **data: Any) -> list[dict[str, Any]]:
    """Return the lines that a stream of `text` wrote."""
    out = io.StringIO()
    overrides = [f"data.{name}={value}" for name, value in data.items()]
    streaming.stream_lines(run, io.BytesIO(text.encode()), out, RuleOptions(), overrides=overrides)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_times_are_read_as_the_preset_says_or_not_at_all(run: Any) -> None:
    rows = [row.split("T")[1] for row in lines_of(9)]
    text = "\n".join([HEADER, *rows, ""])
    assert len(events(lines_out(run, text), "left_out")) == 9  # it was trained on times
    for given in ({"time": "none"}, {}):
        run.manifest["rate_hz"] = None if not given else 1 / 60
        found = lines_out(run, text, **given)
        assert [one["row"] for one in found if "event" not in one] == list(range(9))
        assert ["is no time" in one["text"] for one in events(found, "note")] == [True] * (
            not given
        )
    with pytest.raises(DataError, match=r"no column 'clock' \(data.time\). Columns: time, flow"):
        lines_out(run, text, time="clock")


def test_rows_of_another_machine_are_left_out_by_name(run: Any) -> None:
    rows = [f"{row},{'AB'[place % 2]}" for place, row in enumerate(lines_of(8))]
    found = lines_out(run, "\n".join([HEADER + ",machine", *rows, ""]), group="machine")
    assert len([one for one in found if "event" not in one]) == 4
    reasons = [one["reason"] for one in events(found, "left_out")]
    assert reasons == ["it is of 'B' and the stream of 'A'; give each a process of its own"] * 4


def test_decimal_commas_are_read_as_in_files(run: Any) -> None:
    rows = lines_of(30)
    comma = [row.replace(",", ";").replace(".", ",") for row in rows]
    found = lines_out(run, "\n".join([HEADER.replace(",", ";"), *comma, ""]))
    assert not events(found, "left_out")
    same_rows(found, streamed(run, rows))
    same_rows(lines_out(run, "\n".join([*comma, ""])), streamed(run, rows))


@pytest.mark.parametrize("first", ["1.5,2,0", "2024-01-01 00:00:00,1.5,2,0"])
def test_a_first_line_that_is_no_header_and_no_row_is_told_so(run: Any, first: str) -> None:
    with pytest.raises(DataError, match="the first line is no header, and has . columns where"):
        lines_out(run, first + "\n")
