"""Journal: what is read, told and saved between steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import Optimizer

from seqcl.data.loader import Loader
from seqcl.distributed import from_first, gather_rows
from seqcl.errors import TrainingError
from seqcl.methods.base import Method
from seqcl.training.checkpoint import Checkpoints
from seqcl.training.diagnostics import Diagnostics
from seqcl.training.guard import Fault, Guard
from seqcl.training.optim import learning_rate
from seqcl.training.options import TrainingOptions
from seqcl.training.resume import capture, restore
from seqcl.training.sinks import LogRecord, Sink
from seqcl.training.step import weights_finite
from seqcl.training.stopwatch import Stopwatch

__all__ = ["Journal"]

_NAMED = 8
"""Record ids that an error names; all of a large batch would fill the screen."""


@dataclass(kw_only=True)
class Journal:
    """Logs, diagnoses and saves a training, each every so many steps and after the last one.

    Losses are read here and nowhere else; a checkpoint is written only after they were read and
    found finite. Of several processes rank 0 writes, with no others going on meanwhile, and the
    others have neither sinks nor diagnostics.
    """

    method: Method
    optimizer: Optimizer
    loader: Loader
    options: TrainingOptions
    total_steps: int
    seed: int
    guard: Guard
    clock: Stopwatch
    checkpoints: Checkpoints | None
    diagnostics: Diagnostics | None
    sinks: Sequence[Sink]
    last: dict[str, float | int | list[int]] = field(default_factory=dict)
    """The newest record of the log."""
    _steps_read: int = 0

    def begin(self, resume: bool) -> int:
        """Tell the sinks that training starts; returns the steps done before."""
        step = 0
        notes: list[str] = []
        untrained = self.diagnostics.measure(self.method) if self.diagnostics else {}
        if resume and self.checkpoints is not None:
            step, notes = restore(self.checkpoints, self.method, self.optimizer, self._run())
        self._steps_read = step
        for sink in self.sinks:
            sink.on_start(self.total_steps, step)
        for text in notes:
            self.note(text)
        if untrained and step == 0:
            self._tell({"step": 0, **untrained})
        self.clock.lap("other")
        self.clock.split()  # preparing is no part of a step
        return step

    def after(self, step: int, *, last: bool) -> None:
        """Do what is due after `step` steps; raises TrainingError where a loss was not finite."""
        options = self.options
        save = last or step % options.checkpoint_every == 0
        every = options.diagnose_every
        diagnose = every > 0 and (last or step % every == 0)
        if save or diagnose or step == 1 or step % options.log_every == 0:
            self._log(step, diagnose)
            if save and self.checkpoints is not None:
                from_first(lambda: self._save(step))
            self.clock.lap("other")

    def _save(self, step: int) -> None:
        if self.checkpoints is not None:
            self.checkpoints.save(capture(step, self.method, self.optimizer, self._run()))

    def note(self, text: str) -> None:
        """Tell people."""
        for sink in self.sinks:
            sink.on_note(text)

    def close(self) -> None:
        """Tell the sinks that training ended, well or not."""
        for sink in self.sinks:
            sink.on_end()

    def saved(self) -> str:
        """Say in words which checkpoint there is."""
        return "no run folder" if self.checkpoints is None else self.checkpoints.last_good()

    def _log(self, step: int, diagnose: bool) -> None:
        found = self.guard.read()
        if isinstance(found, Fault):
            raise TrainingError(self._explain(found))
        if not weights_finite(self.method):
            raise TrainingError(
                f"step {step}: the weights are not finite, though loss and gradient were; "
                f"{self.saved()}; lower training.lr"
            )
        self.last = {
            "step": step,
            "epoch": round(step / self.loader.steps_per_epoch, 4),
            **found,
            "lr": learning_rate(step - 1, self.total_steps, self.options),
            **self._speed(step),
        }
        if diagnose and self.diagnostics is not None:
            measured = self.diagnostics.measure(self.method)
            self.last.update(measured)
            for text in self.diagnostics.warnings(measured):
                self.note(f"step {step}: {text}")
        self._tell(self.last)

    def _tell(self, record: LogRecord) -> None:
        for sink in self.sinks:
            sink.on_log(record)

    def _speed(self, step: int) -> dict[str, float]:
        """Return records per second, and the seconds of a step that each part takes."""
        steps, self._steps_read = step - self._steps_read, step
        parts = self.clock.split()
        records = steps * self.loader.batch_size / max(1e-9, sum(parts.values()))
        return {
            "records_per_s": round(records, 1),
            **{f"{name}_s": round(seconds / steps, 6) for name, seconds in parts.items()},
        }

    def _run(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "total_steps": self.total_steps,
            "batch_size": self.loader.batch_size,
            "records": len(self.loader.dataset),
        }

    def _explain(self, fault: Fault) -> str:
        rows = gather_rows(torch.tensor(fault.rows)).tolist()
        ids = [self.loader.dataset.ids[row] for row in rows]
        more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
        return (
            f"step {fault.step + 1}: the loss or its gradient is not finite "
            f"({fault.describe()}), on records {', '.join(ids[:_NAMED])}{more}; {self.saved()}; "
            f"lower training.lr, or look for extreme values in these records"
        )
