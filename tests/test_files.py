"""A lock lasts as long as the process that took it, whatever that process has forked."""

import os
import signal
import time
from pathlib import Path

from forked import CONTEXT

from seqcl.files import locked


def hold(folder: Path, started: object) -> None:
    with locked(folder):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        started.send(child)  # type: ignore[attr-defined]
        time.sleep(60)


def test_a_lock_ends_with_its_process_though_a_forked_child_lives_on(tmp_path: Path) -> None:
    mine, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=hold, args=(tmp_path, theirs))
    process.start()
    child = mine.recv()
    try:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        with locked(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())
    finally:
        os.kill(child, signal.SIGKILL)
