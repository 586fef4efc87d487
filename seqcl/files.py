"""Files that are whole or absent: atomic writes, checksums, and a lock."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from seqcl.errors import ArtefactError, LockedError

__all__ = [
    "atomic_write",
    "check_sha256",
    "fsync_folder",
    "locked",
    "locked_file",
    "sha256",
    "sweep",
    "target_of",
]

_TEMPORARY = ".tmp"
_STREAMS = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))
"""Where open files of a process have names."""


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    Temporary file, fsync, rename, fsync of the folder. Where `path` is a link, its target is
    written; a device, a pipe or the standard output, which no file may replace, takes the data at
    its end.
    """
    raw = data.encode() if isinstance(data, str) else data
    if path.parent in _STREAMS or (path.exists() and not path.is_file()):
        with path.open("ab") as file:
            file.write(raw)
        return
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f"{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def target_of(temporary: str) -> str | None:
    """Return the name of the file that a temporary was to become; None for any other name."""
    name, _, process = temporary.removesuffix(_TEMPORARY).rpartition(".")
    return name if temporary.endswith(_TEMPORARY) and process.isdecimal() else None


def sweep(folder: Path) -> None:
    """Remove temporaries that a killed process left in `folder`."""
    for stray in folder.glob(f"*{_TEMPORARY}"):
        stray.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the hex digest of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str | None, remedy: str) -> None:
    """Raise ArtefactError where a file is not the one whose digest was noted."""
    if not path.is_file():
        raise ArtefactError(f"{path}: is missing; restore it or {remedy}")
    if sha256(path) != expected:
        raise ArtefactError(
            f"{path}: its sha256 is not the one that was noted; the file was changed or damaged, "
            f"restore it or {remedy}"
        )


_locks: set[IO[str]] = set()
"""Open files whose locks this process holds."""


@contextmanager
def _in_this_process(file: IO[str]) -> Iterator[None]:
    """Keep a lock from forked children, which would hold it on where this process is killed."""
    _locks.add(file)
    try:
        yield
    finally:
        _locks.discard(file)


def _close_locks() -> None:
    while _locks:
        _locks.pop().close()


os.register_at_fork(after_in_child=_close_locks)


@contextmanager
def locked(folder: Path, what: str = "run") -> Iterator[None]:
    """Hold `folder`/lock for this process; raises LockedError where another one holds it."""
    with _held(folder / "lock", str(folder), f"this {what}", "--out"):
        yield


@contextmanager
def locked_file(path: Path, option: str) -> Iterator[None]:
    """Hold the lock beside a file that `option` names; raises LockedError likewise."""
    beside = path.with_name(f"{path.name}.lock")
    with _held(beside, f"{option} {path}", "it", option):
        yield


@contextmanager
def _held(path: Path, where: str, what: str, option: str) -> Iterator[None]:
    with path.open("a+") as file, _in_this_process(file):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise LockedError(
                f"{where}: process {owner} is writing {what}; wait for it, or take another {option}"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
