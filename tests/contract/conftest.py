"""`waits`: nothing in a training step may wait for a GPU."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from waiting import Waits


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """Collect what would wait; the test fails if there is any. Tensors count as on a GPU."""
    monkeypatch.setattr("seqcl.modalities.image.chosen.may_be_read", lambda _: False)
    watch = Waits()
    yield watch
    assert watch.found == []
