"""`plain_losses` importable, one thread, and tiles small enough that few rows fill several."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seqcl.losses import mining, pair_sums, similarity, tiles

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: on tensors this small a second one only waits for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make tiles of 6 x 6; returns 6."""
    size = 6

    def blocks(x: Tensor) -> Iterator[slice]:
        return (slice(i, min(i + size, len(x))) for i in range(0, len(x), size))

    for module in (similarity, pair_sums, mining, tiles):
        monkeypatch.setattr(module, "blocks", blocks)
    return size
