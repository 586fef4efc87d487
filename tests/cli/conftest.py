"""A command line and data for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import Done, Seqcl, run_command


@pytest.fixture
def seqcl(tmp_path: Path) -> Seqcl:
    """Run `seqcl ARGUMENTS` in `tmp_path`; a traceback or another exit code fails the test."""

    def run(*arguments: object, code: int = 0) -> Done:
        done = run_command(tuple(map(str, arguments)), tmp_path)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, (done.returncode, done.stderr)
        return done

    return run


@pytest.fixture
def waves(tmp_path: Path) -> Path:
    """Write 24 labelled records of two classes that differ in frequency, (24, 2, 64)."""
    rng = np.random.default_rng(0)
    steps = np.arange(64)
    labels = np.arange(24) % 2
    phase = rng.uniform(0, 6, (24, 2, 1))
    values = np.sin(steps * (0.2 + 0.3 * labels[:, None, None]) + phase)
    values = (values + 0.1 * rng.normal(size=values.shape)).astype(np.float32)
    np.savez(tmp_path / "waves.npz", X=values, y=np.array(["slow", "fast"])[labels])
    return tmp_path / "waves.npz"
