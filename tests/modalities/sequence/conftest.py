from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

WriteText = Callable[..., Path]


@pytest.fixture
def write_text(tmp_path: Path) -> WriteText:
    """Write lines (or bytes as they are) to a file of this name and return its path."""

    def write(name: str, *lines: str | bytes) -> Path:
        path = tmp_path / name
        raw = (line if isinstance(line, bytes) else f"{line}\n".encode() for line in lines)
        path.write_bytes(b"".join(raw))
        return path

    return write


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, where this machine has it."""
    folder = os.environ.get("SEQCL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SEQCL_DATA names no folder of real data")
    return Path(folder)
