"""Sinks: where the metrics of a run go; metrics.jsonl always, TensorBoard if asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

from seqcl.errors import TrainingError, UsageError
from seqcl.files import atomic_write

__all__ = ["JsonlSink", "LogRecord", "Sink", "TensorBoardSink"]

LogRecord = Mapping[str, float | int | list[int]]
"""One flat record of a log step; `step` counts optimizer steps done, a list is a histogram of
cosines (`seqcl.training.diagnostics`)."""


class Sink(Protocol):
    """Takes what the training loop tells; a sink never changes the training."""

    def on_start(self, total_steps: int, first_step: int) -> None:
        """Begin; `first_step` steps were done before (more than 0 in a resumed run)."""

    def on_log(self, record: LogRecord) -> None:
        """Take the metrics of a log step: means since the record before."""

    def on_note(self, text: str) -> None:
        """Take a remark or warning for people."""

    def on_end(self) -> None:
        """End, also after an error."""


class JsonlSink:
    """Appends one JSON object a line, each flushed, so that a killed run leaves whole lines.

    At the start of a resumed run it drops the records after the resumed step, and a torn last
    line: those steps are taken, and logged, again. Without a step to go on from it drops all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, total_steps: int, first_step: int) -> None:
        """Keep the records of the first `first_step` steps."""
        before = self._lines() if first_step else []  # what precedes step 1 is told again
        kept = [line for line in before if _step(line) <= first_step]
        self._guarded(lambda: atomic_write(self.path, "".join(f"{line}\n" for line in kept)))

    def on_log(self, record: LogRecord) -> None:
        """Append one record; raises TrainingError where it cannot be written.

        JSON knows no NaN: a part of the loss that is not finite is written as null.
        """
        known = {
            name: value if isinstance(value, list) or isfinite(value) else None
            for name, value in record.items()
        }
        self._guarded(lambda: self._append(json.dumps(known)))

    def on_note(self, text: str) -> None:
        """Notes are for people; the file holds numbers."""

    def on_end(self) -> None:
        """Every line is on its way already."""

    def _lines(self) -> list[str]:
        if not self.path.exists():
            return []
        return self.path.read_text(encoding="utf-8", errors="replace").splitlines()

    def _append(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            raise TrainingError(
                f"{self.path}: cannot be written ({error.strerror}); free space or choose "
                f"another --out, then --resume"
            ) from error


class TensorBoardSink:
    """Writes numbers as scalars, lists as histograms; needs ``pip install 'seqcl[track]'``."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError("TensorBoard is not installed; pip install 'seqcl[track]'") from None
        self._open = SummaryWriter
        self._folder = folder
        self._writer: Any = None

    def on_start(self, total_steps: int, first_step: int) -> None:
        """Open the log; TensorBoard itself hides what a resumed run logs again."""
        purge = first_step + 1 if first_step else 0
        self._writer = self._open(str(self._folder), purge_step=purge)

    def on_log(self, record: LogRecord) -> None:
        """Write each number under its name."""
        step = record["step"]
        for name, value in record.items():
            if isinstance(value, list):
                self._writer.add_histogram_raw(name, **_histogram(value), global_step=step)
            elif name != "step":
                self._writer.add_scalar(name, value, step)

    def on_note(self, text: str) -> None:
        """Write a remark as text."""
        self._writer.add_text("note", text)

    def on_end(self) -> None:
        """Close the log."""
        if self._writer is not None:
            self._writer.close()


def _histogram(counts: list[int]) -> dict[str, Any]:
    """Return counts in equal steps from -1 to 1 as TensorBoard takes them."""
    width = 2 / len(counts)
    middles = [-1 + width * (place + 0.5) for place in range(len(counts))]
    return {
        "min": -1.0,
        "max": 1.0,
        "num": sum(counts),
        "sum": sum(n * x for n, x in zip(counts, middles, strict=True)),
        "sum_squares": sum(n * x * x for n, x in zip(counts, middles, strict=True)),
        "bucket_limits": [x + width / 2 for x in middles],
        "bucket_counts": counts,
    }


def _step(line: str) -> float:
    """Return the step of a line of the log; infinite where the line is torn."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
