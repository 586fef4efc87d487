"""What people see while a run trains: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from shlex import quote
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = [
    "ConsoleSink",
    "console_sink",
    "note",
    "note_skipped",
    "print_dry_run",
    "print_finetuned",
    "print_lines",
    "print_result",
    "print_table",
]

_STILL = 1e-3
"""Relative change of the weights below which nothing was learnt."""

err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
out = Console(
    highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120
)


def note(text: str) -> None:
    """Print one line to stderr."""
    err.print(text)


def note_skipped(skipped: Sequence[Any]) -> int:
    """List what was passed over, at most 20 lines; returns the exit code, 3 or 0."""
    for item in skipped[:20]:
        named = str(item.reason).startswith(f"{item.path}: ")
        note(f"skipped: {item.reason}" if named else f"skipped: {item.path}: {item.reason}")
    if len(skipped) > 20:
        note(f"skipped: {len(skipped) - 20} more")
    return 3 if skipped else 0


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to stdout, as they are."""
    for line in lines:
        out.print(line)


class ConsoleSink:
    """Loss, speed and time left: a bar on a terminal, a line a log step elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task: Any = None
        self._total = 0

    def on_start(self, total_steps: int, step: int = 0) -> None:
        """Begin at `step` of `total_steps`."""
        self._total = total_steps
        if self._progress is not None:
            self._task = self._progress.add_task(
                "training", total=total_steps, completed=step, loss="", speed=""
            )

    def on_log(self, record: Mapping[str, Any]) -> None:
        """Show one record of the log."""
        if "loss" not in record:
            return
        step, loss = int(record["step"]), f"loss {record['loss']:.4f}"
        speed = f"{record.get('records_per_s', 0):,.0f} records/s"
        if self._progress is not None:
            self._progress.update(self._task, completed=step, loss=loss, speed=speed)
        else:
            note(f"step {step}/{self._total}  {loss}  {speed}")

    def on_note(self, text: str) -> None:
        """Show a remark or a warning."""
        if self._progress is not None:
            self._progress.console.print(f"note: {text}")
        else:
            note(f"note: {text}")

    def on_end(self) -> None:
        """Fill the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.refresh()


@contextmanager
def console_sink() -> Iterator[ConsoleSink]:
    """Yield the sink that suits stderr."""
    if not sys.stderr.isatty():
        yield ConsoleSink(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield ConsoleSink(progress)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table to stdout: the first column to the left, numbers to the right."""
    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def print_result(result: Any) -> None:
    """Say where a finished run is, how long it took, and what to do next."""
    train = result.train
    if train is not None:
        moved = f"weights moved {train.weights_moved:.2%}"
        note(f"{train.steps} steps in {train.seconds:.1f} s, {moved}, {train.stopped}")
        if train.weights_moved < _STILL:
            note("note: the weights hardly moved; raise training.lr or training.steps")
    note_skipped(result.skipped)
    note(f"run: {result.folder}")
    note(f"next: {result.next}")


def print_finetuned(result: Any) -> None:
    """Say where a fine-tuned run is, what was kept, and what to do next."""
    train = result.train
    note(f"{train.steps} steps in {train.seconds:.1f} s, {train.stopped}")
    if result.best:
        measured = [
            f"{name.removeprefix('validation_').replace('_', ' ')} {value:.4f}"
            for name, value in result.best.items()
            if name != "step"
        ]
        note(f"kept: step {result.best['step']}, held-out {', '.join(measured)}")
    note_skipped(result.skipped)
    note(f"run: {result.folder}")
    note(f"next: seqcl predict {quote(str(result.folder))} --data SRC --out predictions.csv")


def print_dry_run(dry: Any) -> None:
    """Print what a run would do."""
    out.print(dry.preset)
    channels = ", ".join(dry.channels[:12]) + (" …" if len(dry.channels) > 12 else "")
    facts = [("records", f"{dry.records:,}"), ("longest", dry.longest),
             ("channels", f"{len(dry.channels)}: {channels}")]  # fmt: skip
    if dry.estimate is not None:
        facts += dry.estimate.facts()
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        out.print(f"{name:{width}}  {value}")
    for text in dry.notes:
        note(f"note: {text}")
