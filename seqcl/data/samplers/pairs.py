"""Marked pairs: both records of a pair in one batch."""

from __future__ import annotations

import numpy as np

from seqcl.data.dataset import Dataset
from seqcl.data.samplers.base import Rows, Sampler
from seqcl.data.samplers.members import Members
from seqcl.errors import DataError

__all__ = ["PairSampler"]


class PairSampler(Sampler):
    """Every record once in random order, the two of a marked pair side by side.

    Records without a mark come by twos; where their number is odd, one of them, another each
    epoch, is left out. Raises DataError where no record has a mark, or where one is not shared by
    exactly two records (windows of one recording all bear its mark).
    """

    needs = frozenset({"pairs"})

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        codes = dataset.pair_codes
        marked = Members(np.where(codes == 0, -1, np.abs(codes)))
        if not len(marked):
            raise DataError("sampler pairs: no record has a pair mark; set data.pair")
        for place in np.flatnonzero(marked.counts != 2)[:1].tolist():
            first = int(marked[place][0])
            raise DataError(
                f"sampler pairs: {marked.counts[place]} records share the mark of "
                f"{dataset.ids[first]}; mark exactly two, and leave data.window unset"
            )
        self._pairs = np.stack([marked[place] for place in range(len(marked))])
        self._single = np.flatnonzero(codes == 0)

    def __len__(self) -> int:
        """Rows of every epoch."""
        return 2 * (len(self._pairs) + len(self._single) // 2)

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return rows, two by two."""
        rng = np.random.default_rng((seed, epoch))
        even = len(self._single) // 2 * 2
        single = rng.permutation(self._single)[:even].reshape(-1, 2)
        both = rng.permuted(self._pairs, axis=1)
        rows: Rows = rng.permutation(np.concatenate([both, single])).ravel()
        return rows

    def fault(self, batch_size: int) -> str | None:
        """Return what is wrong with batches that cut a pair."""
        if batch_size % 2 == 0:
            return None
        return f"sampler pairs: batches of {batch_size} cut pairs; make training.batch_size even"
