from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

WriteTable = Callable[..., Path]


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """Write a CSV of (T, C) values, random unless given, and return its path."""

    def write(
        name: str,
        steps: int = 20,
        header: str = "x,y",
        values: np.ndarray | Sequence[Sequence[float]] | None = None,
        seed: int = 0,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if values is None:
            size = (steps, header.count(",") + 1)
            values = np.random.default_rng(seed).standard_normal(size)
        rows = [",".join("" if np.isnan(v) else f"{v:.6g}" for v in row) for row in values]
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    return write
