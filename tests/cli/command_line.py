"""The command line in a process of its own, forked from one that has imported torch already."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forked import CONTEXT

SMALL = ("--set", "encoder.widths=[8,8]", "--set", "training.batch_size=8")
"""An encoder and batches that cost nothing."""


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Seqcl = Callable[..., Done]


def run_command(arguments: tuple[str, ...], folder: Path) -> Done:
    """Run ``seqcl ARGUMENTS`` in `folder`, in a new process."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before the server starts, which keeps it
    printed = [folder / f".{name}" for name in ("stdout", "stderr")]
    process = CONTEXT.Process(target=_child, args=(arguments, folder, printed))
    process.start()
    process.join()
    assert process.exitcode is not None
    texts = [path.read_text() for path in printed]
    for path in printed:
        path.unlink()
    return Done(process.exitcode, *texts)


def _child(arguments: tuple[str, ...], folder: Path, printed: list[Path]) -> None:
    os.chdir(folder)
    os.environ["COLUMNS"] = "200"
    for stream, path in zip((sys.stdout, sys.stderr), printed, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    sys.argv = ["seqcl", *arguments]
    from seqcl.cli.main import main

    main()


def checked(folder: Path, *arguments: str, code: int = 0) -> Done:
    """Run a command in `folder`; another exit code fails the test."""
    done = run_command(arguments, folder)
    assert done.returncode == code, done.stderr
    return done
