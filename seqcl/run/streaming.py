"""A detector on standard input: CSV rows in, a line of JSON for each, state that is kept."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from operator import index
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, TextIO

import numpy as np
import numpy.typing as npt

from seqcl.config.preset import changed_data, data_options
from seqcl.data.duration import duration_ns, duration_text
from seqcl.detection.explain import Explanation
from seqcl.detection.incidents import Change
from seqcl.detection.live import Live, Result
from seqcl.detection.rates import rows_per_day
from seqcl.errors import ArtefactError, UsageError
from seqcl.files import atomic_write, locked_file
from seqcl.modalities.sequence.timestamps import GAP_STEPS
from seqcl.run.build import threads
from seqcl.run.detecting import (
    RuleOptions,
    drift_line,
    fault_line,
    incident_line,
    rules_for,
    time_text,
)
from seqcl.run.detector_run import load_detector
from seqcl.run.embedding import check_output
from seqcl.run.folder import Run
from seqcl.run.stream_grid import StreamGrid
from seqcl.run.stream_order import StreamOrder
from seqcl.run.stream_rows import StreamRow, read_batches

__all__ = ["stream_lines"]

_KEPT = 100_000
"""Latencies that percentiles are taken from."""
_TIMES = 10_000
"""Rows whose time is remembered, for the incident that is open."""
_RATE_ROWS = 20
"""Steps from one row to the next that a stream's rate is taken from."""
_SAVED_EVERY_S = 60.0
"""How often the state is written, beside at the end."""


def stream_lines(
    run: Run,
    source: BinaryIO,
    out: TextIO,
    options: RuleOptions,
    *,
    state: Path | None = None,
    overrides: Sequence[str] = (),
    cpu_threads: int | None = None,
) -> str:
    """Score CSV rows from `source` until it ends; returns a summary of counts and latencies.

    The first line names the columns. Every row (with ``data.every`` every interval, once a row
    comes that is beyond it) gives a line ``{"row", "time", "score", "p_value", "alarm"}``, with
    ``"event"`` lines between: incidents that open and close, sensors missing or stuck, gaps in
    time, rows that are no rows, late or double ones (left out). With `state` the stream goes on
    where it stopped, in the middle of an interval too, and passes over rows that it has seen; its
    state is written every minute and at the end, which SIGINT and SIGTERM bring about too, once the
    rows that were read are scored.
    """
    check_output("--state", state)
    detector = load_detector(run)
    rate = run.manifest["rate_hz"]
    rules = rules_for(detector.calibrations["trailing"], options, rows_per_day(rate_hz=rate))
    live = Live(detector, rules)
    data = data_options(changed_data(run.preset.tree()["data"], overrides))
    grid = None if data.every is None else StreamGrid(duration_ns(data.every), len(run.channels))
    if grid is not None and rate is not None and abs(grid.every_ns * rate / 1e9 - 1) > 0.01:
        raise UsageError(
            f"data.every={data.every}: the run was trained on rows every "
            f"{duration_text(1e9 / rate)}; give that, or train with data.every={data.every}"
        )
    writer = _Writer(run, live, out, grid)
    with _kept(state, writer), threads(cpu_threads), _ended_by_signals() as wait:
        saved = time.monotonic()
        try:
            for rows in read_batches(source, run, data, writer.note, wait):
                writer.take(writer.certain(rows))
                if state is not None and time.monotonic() - saved > _SAVED_EVERY_S:
                    try:
                        writer.save(state)
                    except OSError as error:
                        writer.note(f"--state {state}: is not written ({error.strerror})")
                    saved = time.monotonic()
            writer.take(writer.held_back())
        finally:
            if state is None:
                writer.finish()
            elif writer.whole:
                writer.save(state)
    return writer.summary()


@contextmanager
def _kept(state: Path | None, writer: _Writer) -> Iterator[None]:
    """Go on from a state, and hold its lock; what cannot be written is told before any row."""
    with ExitStack() as held:
        if state is not None:
            try:
                held.enter_context(locked_file(state, "--state"))
                if state.exists():
                    writer.restore(_read_state(state))
                writer.save(state)
            except OSError as error:
                raise UsageError(f"--state {state}: cannot be written ({error.strerror})") from None
        yield


@contextmanager
def _ended_by_signals() -> Iterator[Callable[[BinaryIO], bool]]:
    """Give a wait for input that SIGINT and SIGTERM end; what runs meanwhile goes on.

    The wait returns false after a signal. Outside the main thread none is caught.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda source: True
        return
    stopped, stop = os.pipe()
    os.set_blocking(stop, False)

    def handle(signum: int, frame: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(stop, b"x")

    def wait(source: BinaryIO) -> bool:
        try:
            sources: list[Any] = [source, stopped]
            ready = select.select(sources, [], [])[0]
            return stopped not in ready
        except (OSError, ValueError):  # a buffer in memory is always ready
            return not select.select([stopped], [], [], 0)[0]

    before = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wait
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        os.close(stop)
        os.close(stopped)


class _Writer:
    """Takes rows, writes lines, and counts."""

    def __init__(self, run: Run, live: Live, out: TextIO, grid: StreamGrid | None) -> None:
        self.run, self.live, self.out, self.grid = run, live, out, grid
        rate = run.manifest["rate_hz"]
        self.step = None if rate is None else 1e9 / rate
        self.order = StreamOrder(self.step, grid)
        self.steps: list[int] = []
        self.counts = {"rows": 0, "incidents": 0, "left_out": 0, "gaps": 0}
        self.latencies: deque[float] = deque(maxlen=_KEPT)
        self.times: deque[tuple[int, int]] = deque(maxlen=_TIMES)
        self.kept: list[StreamRow] = []
        """Rows that are yet to be scored."""
        self.ahead: StreamRow | None = None
        """A row far ahead of those before it, until the next one tells if its time is right."""
        self.begun = 0.0
        self.whole = True
        """Whether no row is half scored, so that the state is one to go on from."""

    def certain(self, rows: Iterable[StreamRow]) -> Iterator[StreamRow]:
        """Yield rows, on a grid one far ahead with the next: a wrong stamp is to fill no intervals.

        It is right where the next one is not before it.
        """
        for row in rows:
            if row.time is not None:
                for before in self.held_back():
                    wrong = before.time is not None and row.time < before.time
                    fault = "its time is far ahead of that of the row after it" if wrong else ""
                    yield replace(before, fault=before.fault or fault)
            if row.time is not None and self._is_far_ahead(row.time):
                self.ahead = row
            else:
                yield row

    def held_back(self) -> Iterator[StreamRow]:
        """Yield the row that is held back, if any."""
        row, self.ahead = self.ahead, None
        if row is not None:
            yield row

    def _is_far_ahead(self, stamp: int) -> bool:
        detector, last = self.live.detector, self.order.last
        if self.grid is None or last is None:
            return False
        return stamp - last > (detector.reach + detector.window) * self.grid.every_ns

    def take(self, rows: Iterable[StreamRow]) -> None:
        """Score the rows that are rows and write what they did."""
        self.begun = time.perf_counter()
        self.whole = False
        for row in rows:
            if self._accepted(row):
                self.kept.append(row)
                self.whole = False
        self._score_kept()
        self.whole = True
        self.out.flush()

    def _score_kept(self) -> None:
        """Score the rows that wait: before an event of a row after them is written too."""
        kept, self.kept = self.kept, []
        if not kept:
            return
        values = np.stack([row.values for row in kept if row.values is not None])
        stamps: list[int | None] = [row.time for row in kept]
        if self.grid is None:
            self._score(values, stamps)
        else:
            self._score(*self.grid.push(values, np.array(stamps, np.int64)))
        self.latencies.extend([time.perf_counter() - self.begun] * len(kept))

    def _score(self, values: npt.NDArray[np.float32], stamps: Sequence[int | None]) -> None:
        """Score rows, or intervals of rows, and write what they did."""
        if not len(values):
            return
        first = self.live.rows
        self.times.extend((first + i, stamp) for i, stamp in enumerate(stamps) if stamp is not None)
        results = self.live.push(values)
        self.whole = True
        for result, stamp in zip(results, stamps, strict=True):
            self._told(result, stamp)

    def finish(self) -> None:
        """Close the interval and the incident that are open."""
        if self.grid is not None:
            self._score(*self.grid.flush())
        for change in self.live.tracker.finish():
            self._incident(change, self.live.explain())

    def note(self, text: str) -> None:
        """Write a remark about the stream."""
        self._line({"event": "note", "text": text})

    def summary(self) -> str:
        """Say what went by, and how long a row took."""
        text = ", ".join(
            self.grid.summary
            if self.grid and name == "rows"
            else f"{count:,} {name.replace('_', ' ')}"
            for name, count in self.counts.items()
        )
        if self.latencies:
            p50, p99 = np.percentile(np.array(self.latencies) * 1e3, [50, 99])
            text += f"; latency {p50:.1f} ms (median), {p99:.1f} ms (99 %)"
        return text

    def save(self, path: Path) -> None:
        """Write the state."""
        atomic_write(path, json.dumps(self.state()))

    def state(self) -> dict[str, object]:
        """Return all that is remembered, as plain values."""
        return {
            "run": self.run.manifest["files"],
            "first_time": self.order.first,
            "last_time": self.order.last,
            "times": list(self.times),
            "live": self.live.state(),
            "grid": None if self.grid is None else self.grid.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; raises ArtefactError where it is none, or another run wrote it."""
        if state.get("run") != self.run.manifest["files"]:
            raise ArtefactError("--state: was written with another run; start without it")
        if self.grid is not None:
            self.grid.restore(state.get("grid"))
        elif state.get("grid") is not None:
            raise ArtefactError("--state: was written with data.every; start without it")
        try:
            first, last = (
                None if stamp is None else index(stamp)
                for stamp in (state.get("first_time"), state["last_time"])
            )
            times = [(index(row), index(time)) for row, time in state["times"]]
            self.order.resume(first, last, [time for _, time in times])
            self.live.restore(state["live"])
            if state["live"]["incident"].get("follows") != self.live.tracker.state()["follows"]:
                self.note("the state is of another --far or --adaptive; the threshold begins anew")
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"--state: is no state ({error!r}); start without it") from error
        self.times.extend(times)

    def _accepted(self, row: StreamRow) -> bool:
        """Tell whether a row is one, and write an event where it is not, or after a gap."""
        if row.time is not None and self.order.was_seen(row.time):
            self._pass_over(row.time)
            return False
        fault = row.fault or ("" if row.time is None else self.order.fault(row.time))
        if fault:
            self.counts["left_out"] += 1
            self._event({"event": "left_out", "reason": fault})
            self._follow_clock()
            return False
        if row.time is not None and self.order.last is not None:
            if (seconds := self.order.gap(row.time)) is not None:
                self.counts["gaps"] += 1
                self._event({"event": "gap", "seconds": seconds}, row.time)
            self._compare_rate(row.time - self.order.last)
        if row.infinite:
            names = [self.run.channels[place] for place in row.infinite]
            self._event({"event": "infinite", "channels": names})
        self.order.keep(row.time)
        return True

    def _event(self, line: dict[str, object], stamp: int | None = None) -> None:
        """Write an event of the row that comes next, after what the rows before it did.

        On a grid that is the interval of `stamp`, where it is beyond the open one.
        """
        self._score_kept()
        row = self.live.rows
        if self.grid is not None and stamp is not None:
            row += self.order.intervals(stamp)
        self._line({"event": line.pop("event"), "row": row, **line})

    def _pass_over(self, stamp: int) -> None:
        """Count a row that was scored before the restart, and say so once."""
        if "passed_over" not in self.counts:
            self.counts["passed_over"] = 0
            told = f"rows from {time_text(stamp)} on were seen before and are passed over"
            if self.order.is_forgotten(stamp) and self.order.last is not None:
                told += (
                    f" until {time_text(self.order.last)}; if the clock was set back instead, "
                    "start without --state"
                )
            self.note(told)
        self.counts["passed_over"] += 1

    def _compare_rate(self, apart: int) -> None:
        """Say once, after some rows, where they come at another rate than those of training."""
        if self.step is None or self.grid is not None or len(self.steps) == _RATE_ROWS:
            return
        self.steps.append(apart)
        if len(self.steps) < _RATE_ROWS:
            return
        usual = float(np.median(self.steps))
        if not 1 / GAP_STEPS <= usual / self.step <= GAP_STEPS:
            self.note(
                f"rows come every {usual / 1e9:g} s and those of training came every "
                f"{self.step / 1e9:g} s: the scores mean little; send them at that rate"
            )

    def _follow_clock(self) -> None:
        """Go on from the last of the late rows, where so many came that the clock is theirs."""
        after = self.order.set_back()
        if after is None:
            return
        before = self.order.last
        known = {} if before is None else {"from": time_text(before)}
        self._event({"event": "clock", **known, "to": time_text(after)})
        self.order.keep(after)

    def _told(self, result: Result, stamp: int | None) -> None:
        self.counts["rows"] += 1
        line: dict[str, object] = {"row": result.row}
        if stamp is not None:
            line["time"] = time_text(stamp)
        known = bool(np.isfinite(result.score))
        line |= {
            "score": round(result.score, 6) if known else None,
            "p_value": result.p_value if known else None,
            "alarm": result.alarm,
        }
        if self.live.rules.following is not None:
            line["threshold"] = round(result.threshold, 6)
        self._line(line)
        for fault in result.faults:
            self._line(fault_line(fault, self.run))
        if result.drift is not None:
            self._line(drift_line(result.drift))
        for change, explanation in zip(result.changes, result.explanations, strict=True):
            self._incident(change, explanation)

    def _incident(self, change: Change, explanation: Explanation | None) -> None:
        incident = change.incident
        self.counts["incidents"] += change.kind == "opened"
        known = dict(self.times)

        def when(row: int) -> str | None:
            return time_text(known[row]) if row in known else None

        line = incident_line({"id": "stream"}, incident, explanation, self.run, when)
        self._line({"event": f"incident_{change.kind}", **line})

    def _line(self, line: dict[str, object]) -> None:
        self.out.write(json.dumps(line, ensure_ascii=False) + "\n")


def _read_state(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"--state {path}: is no state ({error}); start without it") from None
    if not isinstance(found, dict):
        raise ArtefactError(f"--state {path}: is no state (no object); start without it")
    return found
