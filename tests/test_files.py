"""Locks last as long as their process; files are written where links and pipes lead."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from forked import CONTEXT

from seqcl.files import atomic_write, locked


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


def test_a_link_keeps_its_place_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    for text in ("first", "second"):
        atomic_write(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["a.csv"]


def test_a_pipe_takes_what_is_written_and_stays_one(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    atomic_write(pipe, "rows")
    reader.join(10)
    assert got == ["rows"]
    assert pipe.is_fifo()


def test_the_standard_output_is_written_at_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("kept\n")
    text = "from pathlib import Path; from seqcl.files import atomic_write as write; "
    text += "write(Path('/dev/stdout'), 'rows\\n')"
    with log.open("a") as out:
        subprocess.run([sys.executable, "-c", text], stdout=out, check=True)
    assert log.read_text() == "kept\nrows\n"
