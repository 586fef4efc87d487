"""As many records of each class as of any other."""

from __future__ import annotations

import numpy as np

from seqcl.data.dataset import Dataset
from seqcl.data.samplers.base import Rows, Sampler
from seqcl.data.samplers.members import Members, sets_of
from seqcl.errors import DataError

__all__ = ["BalancedSampler", "refuse_unlabelled"]


class BalancedSampler(Sampler):
    """As many records of each class as of any other, dealt from a shuffled deck of the class.

    The classes come in shuffled rounds, each class once a round, so every stretch of K rows (K
    classes) that starts at a multiple of K holds each class once. An epoch has as many rows as
    the dataset; in it a record comes again only once all others of its class have come. Raises
    DataError where a record has no label.
    """

    needs = frozenset({"labels"})

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        refuse_unlabelled("balanced", dataset, "label them or use training.sampler=shuffle")
        self._classes = Members(dataset.label_codes)

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return rows in rounds of the classes."""
        rng = np.random.default_rng((seed, epoch))
        classes = len(self._classes)
        rounds = -(-self.size // classes)
        order = rng.permuted(np.tile(np.arange(classes), (rounds, 1)), axis=1).ravel()[: self.size]
        return sets_of(self._classes, order, 1, rng).ravel()


def refuse_unlabelled(sampler: str, dataset: Dataset, advice: str) -> None:
    """Raise DataError where a record has no label, naming the first."""
    unknown = np.flatnonzero(dataset.label_codes < 0)
    if len(unknown):
        raise DataError(
            f"sampler {sampler}: {len(unknown)} of {len(dataset)} records have no label, first "
            f"{dataset.ids[int(unknown[0])]}; {advice}"
        )
