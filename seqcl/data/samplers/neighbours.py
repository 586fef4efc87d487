"""Neighbours in time: windows of one recording that follow each other, in one batch."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from seqcl.data.dataset import Dataset
from seqcl.data.samplers.base import Rows, Sampler
from seqcl.errors import DataError

__all__ = ["NeighbourSampler"]


class NeighbourSampler(Sampler):
    """Every record once, in runs of consecutive windows of one recording.

    Where the runs of a recording begin is drawn anew each epoch, and so is the order of the runs.
    The first and last run of a recording may be shorter, so a batch may end inside a run.

    Args:
        dataset: windows of recordings.
        run: windows that stand together.

    Raises DataError where no recording has two windows.
    """

    def __init__(self, dataset: Dataset, *, run: Annotated[int, Ge(2)] = 8) -> None:
        super().__init__(dataset)
        spans = dataset.spans
        self.run = run
        self._rows = np.lexsort((spans.start, spans.recording))
        _, counts = np.unique(spans.recording, return_counts=True)
        if self.size > 1 and counts.max() < 2:
            raise DataError(
                "sampler neighbours: no recording has two windows; set data.window (smaller than "
                "now), or use training.sampler=shuffle"
            )
        self._recording = np.repeat(np.arange(len(counts)), counts)
        self._place = np.arange(self.size) - np.repeat(np.cumsum(counts) - counts, counts)
        self._runs = -(-counts.max() // run) + 1

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return rows, run after run."""
        rng = np.random.default_rng((seed, epoch))
        recordings = int(self._recording[-1]) + 1
        begin = rng.integers(0, self.run, recordings)[self._recording]
        number = self._recording * self._runs + (self._place + begin) // self.run
        _, number = np.unique(number, return_inverse=True)
        order = rng.permutation(int(number.max()) + 1)[number]
        rows: Rows = self._rows[np.argsort(order, kind="stable")]
        return rows
