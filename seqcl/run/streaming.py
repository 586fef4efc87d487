"""A detector on standard input: CSV rows in, a line of JSON for each, state that is kept."""

from __future__ import annotations

import csv
import json
import select
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seqcl.config.preset import changed_data, data_options
from seqcl.data.channels import match_channels
from seqcl.detection.incidents import Change
from seqcl.detection.live import Live, Result
from seqcl.detection.rates import rows_per_day
from seqcl.errors import ArtefactError, DataError
from seqcl.files import atomic_write
from seqcl.modalities.sequence.tablefile import TIME_NAMES
from seqcl.modalities.sequence.timestamps import GAP_STEPS, Clock
from seqcl.run.build import threads
from seqcl.run.detecting import RuleOptions, fault_line, incident_line, rules_for, time_text
from seqcl.run.detector_run import load_detector
from seqcl.run.folder import Run

__all__ = ["stream_lines"]

_AT_ONCE = 256
"""Rows of a backlog that are scored together."""
_KEPT = 100_000
"""Latencies that percentiles are taken from."""
_TIMES = 10_000
"""Rows whose time is remembered, for the incident that is open."""
_LONGEST_LINE = 1 << 20
"""Bytes of a line that are read; a longer one is no row."""


@dataclass(frozen=True)
class _Row:
    """A row of the stream, or what is wrong with it."""

    values: npt.NDArray[np.float32] | None
    time: int | None = None
    fault: str = ""


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

    The first line names the columns. Every row gives a line ``{"row", "time", "score", "p_value",
    "alarm"}``, with ``"event"`` lines between: incidents that open and close, sensors missing or
    stuck, gaps in time, rows that are no rows, late or double ones (left out). With `state` the
    stream goes on where it stopped, and its state is written at the end.
    """
    detector = load_detector(run)
    rate = run.manifest["rate_hz"]
    rules = rules_for(detector.calibrations["trailing"], options, rows_per_day(rate_hz=rate))
    live = Live(detector, rules)
    writer = _Writer(run, live, out)
    if state is not None and state.exists():
        writer.restore(_read_state(state))
    with threads(cpu_threads):
        try:
            for rows in _batches(source, run, overrides):
                writer.take(rows)
        except KeyboardInterrupt:
            pass
        finally:
            if state is not None:
                atomic_write(state, json.dumps(writer.state()))
            else:
                writer.finish()
    return writer.summary()


class _Writer:
    """Takes rows, writes lines, and counts."""

    def __init__(self, run: Run, live: Live, out: TextIO) -> None:
        self.run, self.live, self.out = run, live, out
        rate = run.manifest["rate_hz"]
        self.step = None if rate is None else 1e9 / rate
        self.last_time: int | None = None
        self.counts = {"rows": 0, "incidents": 0, "left_out": 0, "gaps": 0}
        self.latencies: deque[float] = deque(maxlen=_KEPT)
        self.times: deque[tuple[int, int]] = deque(maxlen=_TIMES)

    def take(self, rows: list[_Row]) -> None:
        """Score the rows that are rows and write what they did."""
        begun = time.perf_counter()
        kept = [row for row in rows if self._accepted(row)]
        if kept:
            first = self.live.rows
            self.times.extend(
                (first + i, row.time) for i, row in enumerate(kept) if row.time is not None
            )
            values = np.stack([row.values for row in kept if row.values is not None])
            results = self.live.push(values)
            for row, result in zip(kept, results, strict=True):
                self._told(result, row.time)
            self.latencies.extend([(time.perf_counter() - begun)] * len(kept))
        self.out.flush()

    def finish(self) -> None:
        """Close the incident that is open."""
        for change in self.live.tracker.finish():
            self._incident(change)

    def summary(self) -> str:
        """Say what went by, and how long a row took."""
        text = ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in self.counts.items()
        )
        if self.latencies:
            p50, p99 = np.percentile(np.array(self.latencies) * 1e3, [50, 99])
            text += f"; latency {p50:.1f} ms (median), {p99:.1f} ms (99 %)"
        return text

    def state(self) -> dict[str, object]:
        """Return all that is remembered, as plain values."""
        return {
            "run": self.run.manifest["files"],
            "last_time": self.last_time,
            "times": list(self.times),
            "live": self.live.state(),
        }

    def restore(self, state: dict[str, object]) -> None:
        """Go on from `state`; raises ArtefactError where another run wrote it."""
        if state.get("run") != self.run.manifest["files"]:
            raise ArtefactError("--state: was written with another run; start without it")
        self.live.restore(state["live"])  # type: ignore[arg-type]
        self.last_time = state["last_time"]  # type: ignore[assignment]
        self.times.extend((int(a), int(b)) for a, b in state["times"])  # type: ignore[attr-defined]

    def _accepted(self, row: _Row) -> bool:
        """Tell whether a row is one, and write an event where it is not, or after a gap."""
        fault = row.fault
        if not fault and row.time is not None and self.last_time is not None:
            apart = row.time - self.last_time
            if apart <= 0:
                fault = "its time stamp is that of the last row" if apart == 0 else "it is late"
            elif self.step is not None and apart > GAP_STEPS * self.step:
                self.counts["gaps"] += 1
                self._line({"event": "gap", "row": self.live.rows, "seconds": apart / 1e9})
        if fault:
            self.counts["left_out"] += 1
            self._line({"event": "left_out", "row": self.live.rows, "reason": fault})
            return False
        self.last_time = row.time
        return True

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
        self._line(line)
        for fault in result.faults:
            self._line(fault_line(fault, self.run))
        for change in result.changes:
            self._incident(change)

    def _incident(self, change: Change) -> None:
        incident = change.incident
        self.counts["incidents"] += change.kind == "opened"
        known = dict(self.times)

        def when(row: int) -> str | None:
            return time_text(known[row]) if row in known else None

        explanation = self.live.explain()
        line = incident_line("stream", incident, explanation, self.run, when)
        self._line({"event": f"incident_{change.kind}", **line})

    def _line(self, line: dict[str, object]) -> None:
        self.out.write(json.dumps(line, ensure_ascii=False) + "\n")


def _read_state(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtefactError(f"--state {path}: is no state ({error}); start without it") from None
    return dict(found)


def _batches(source: BinaryIO, run: Run, overrides: Sequence[str]) -> Iterator[list[_Row]]:
    """Yield rows as they come: those of a backlog together, a single one at once."""
    options = data_options(changed_data(run.preset.tree()["data"], overrides))
    lines = _Lines(source)
    header = lines.next()
    if header is None:
        raise DataError("standard input: is empty; the first line names the columns")
    delimiter = options.delimiter or max(",;\t|", key=header.count)
    parse = _Parser(next(csv.reader([header], delimiter=delimiter)), delimiter, run, options.time)
    while True:
        batch: list[_Row] = []
        while len(batch) < _AT_ONCE and (not batch or lines.waiting()):
            line = lines.next()
            if line is None:
                break
            if line.strip():
                batch.append(parse(line))
        if not batch:
            return
        yield batch


class _Lines:
    """Lines of a stream, and whether another one is there already."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._buffer = b""
        self._ended = False

    def next(self) -> str | None:
        """Return the next line without its end; None where the stream has ended."""
        while b"\n" not in self._buffer and not self._ended:
            self._fill()
        line, mark, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        if not mark and not line:
            return None
        if not mark:
            return "" if not line.strip() else line.decode("utf-8", "replace") + "\x00"
        return line[:_LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")

    def waiting(self) -> bool:
        """Tell whether a whole line can be had without waiting."""
        while b"\n" not in self._buffer and not self._ended and self._ready():
            self._fill()
        return b"\n" in self._buffer or (self._ended and bool(self._buffer))

    def _fill(self) -> None:
        data = self._source.read1(1 << 16)  # type: ignore[attr-defined]
        self._ended = not data
        self._buffer += data

    def _ready(self) -> bool:
        try:
            return bool(select.select([self._source], [], [], 0)[0])
        except (OSError, ValueError):  # a buffer in memory is always ready
            return True


class _Parser:
    """Turns lines into rows of the run's channels."""

    def __init__(self, names: list[str], delimiter: str, run: Run, asked: str | None) -> None:
        names = [name.strip().lstrip("\ufeff") for name in names]
        by_name = {name.lower(): place for place, name in enumerate(names)}
        usual = next((by_name[name] for name in TIME_NAMES if name in by_name), None)
        self.time = names.index(asked) if asked in names else usual
        channels = [name for place, name in enumerate(names) if place != self.time]
        wanted = [name for name in channels if name in run.channels]
        found = match_channels(run.channels, wanted, named=True, where="standard input")
        self.places = [names.index(wanted[place]) for place in found.tolist()]
        self.names, self.delimiter = names, delimiter
        self.clock = Clock()

    def __call__(self, line: str) -> _Row:
        """Parse one line; a row's fault says what is wrong with it."""
        if line.endswith("\x00"):
            return _Row(None, fault="the stream ended within it")
        fields = next(csv.reader([line], delimiter=self.delimiter), [])
        if len(fields) != len(self.names):
            return _Row(None, fault=f"it has {len(fields)} fields and the header {len(self.names)}")
        stamp = None
        if self.time is not None:
            try:
                stamp = int(self.clock.read(pa.array([fields[self.time]]))[0])
            except ValueError:
                return _Row(None, fault=f"its time is {fields[self.time][:40]!r}")
        try:
            values = [
                float(fields[place]) if fields[place].strip() else np.nan for place in self.places
            ]
        except ValueError as error:
            return _Row(None, stamp, f"{str(error)[:80]}")
        row = np.array(values, np.float32)
        row[~np.isfinite(row)] = np.nan
        return _Row(row, stamp)
