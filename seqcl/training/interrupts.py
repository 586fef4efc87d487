"""SIGINT and SIGTERM: the first asks the loop to stop after this step, the second kills.

Of several processes the second is ignored: a job scheduler and torchrun each send one of them to
all, and torchrun kills what does not end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from seqcl.distributed import world_size
from seqcl.errors import SeqclError

__all__ = ["Interrupted", "Interrupts", "interruptible"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(SeqclError):
    """Training that a signal stopped, after a checkpoint; exits with 128 + the signal."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


class Interrupts:
    """Which signal came, if any."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def error(self, step: int, saved: str) -> Interrupted:
        """Return what is to be raised after `step` steps; `saved` says which checkpoint is."""
        assert self.received is not None
        return Interrupted(
            f"interrupted by {self.received.name} after step {step}; {saved}; go on with --resume",
            self.received,
        )

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(signum)
        if world_size() == 1:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)  # the next one ends the process at once


@contextmanager
def interruptible(caught: bool = True) -> Iterator[Interrupts]:
    """Catch signals inside the block and put the handlers back after it.

    Nothing is caught where `caught` is False, nor outside the main thread, where Python installs
    no handlers.
    """
    interrupts = Interrupts()
    if not caught or threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {each: signal.signal(each, interrupts._handle) for each in _SIGNALS}
    try:
        yield interrupts
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
