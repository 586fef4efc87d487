"""P classes x K records: batches in which every record has others of its class.

As in FaceNet (Schroff et al. 2015, arXiv 1503.03832, section 3.2) and "In Defense of the Triplet
Loss" (Hermans et al. 2017, arXiv 1703.07737, section 2).
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from seqcl.data.dataset import Dataset
from seqcl.data.samplers.balanced import refuse_unlabelled
from seqcl.data.samplers.base import Rows, Sampler
from seqcl.data.samplers.members import Members, hands, sets_of
from seqcl.errors import DataError

__all__ = ["PkSampler"]


class PkSampler(Sampler):
    """Sets of K records of one class; a batch of P x (K + `others`) records holds P sets.

    The records of a class are dealt from a shuffled deck, so a set holds none twice; a class of
    fewer than K records gives each of them as evenly as can be. Every class is as frequent as any
    other. An epoch has as many rows as the dataset, rounded to whole sets, and at least one set of
    each class; with `others`, enough to show each record without a label once.

    Args:
        dataset: every record needs a label, unless `others` is set.
        classes: P, at most as many as there are; the P sets that stand together are of P different
            classes. None: the classes come in shuffled rounds, so one may stand at the end of a
            round and at the beginning of the next.
        records: K, at most twice the records of the largest class.
        others: records without a label after each set.

    Raises DataError where records have no label and `others` is 0, or the other way round, and
    where no class has two records though K is more than one.
    """

    needs = frozenset({"labels"})

    def __init__(
        self,
        dataset: Dataset,
        *,
        classes: Annotated[int, Ge(2)] | None = None,
        records: Annotated[int, Ge(1)] = 4,
        others: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__(dataset)
        if not others:
            advice = "label them, mix them in by others=1, or use training.sampler=shuffle"
            refuse_unlabelled("pk", dataset, advice)
        codes = dataset.label_codes
        self.records, self.others = records, others
        self._members = Members(codes)
        self._unknown = np.flatnonzero(codes < 0)
        if not len(self._members):
            raise DataError("sampler pk: no record has a label; set data.label, or use shuffle")
        if others and not len(self._unknown):
            raise DataError(
                f"sampler pk: others={others}, and every record has a label (empty or NaN is none; "
                "-1 is a class); use others=0 (for the method semi_supervised: use supcon, which "
                "needs no others)"
            )
        self._largest = int(self._members.counts.max())
        if records > 1 and self._largest < 2 and self.size > 1:
            raise DataError(
                f"sampler pk: no two of {len(self._members)} labelled records are of one class, so "
                f"sets of {records} would repeat a record; are these labels classes? Set "
                "data.label, or use training.sampler=shuffle"
            )
        self.classes = classes or len(self._members)
        together = classes or 1
        self.block = together * (records + others)
        sets = (self.size - len(self._unknown)) // records
        if others:
            sets = max(sets, -(-len(self._unknown) // others))
        sets = max(sets, len(self._members))
        self._sets = -(-sets // together) * together

    def __len__(self) -> int:
        """Rows of every epoch."""
        return self._sets * (self.records + self.others)

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return rows, set after set."""
        rng = np.random.default_rng((seed, epoch))
        order = hands(len(self._members), self.classes, -(-self._sets // self.classes), rng)
        rows = sets_of(self._members, order.ravel()[: self._sets], self.records, rng)
        if not self.others:
            return rows.ravel()
        others = self._unknown[hands(len(self._unknown), self.others, self._sets, rng)]
        together: Rows = np.concatenate([rows, others], axis=1)
        return together.ravel()

    def fault(self, batch_size: int) -> str | None:
        """Return what is wrong with P, with K, or with batches that would cut a set."""
        if self.classes > len(self._members):
            return (
                f"sampler pk: classes={self.classes}, and the data have {len(self._members)}: set "
                "training.sampler.pk.classes to at most that, or leave it out, and "
                "training.batch_size to match"
            )
        if self.records > max(2 * self._largest, 2):
            return (
                f"sampler pk: records={self.records}, and the largest class has {self._largest}, "
                "which a set would hold more than twice: set training.sampler.pk.records to at "
                f"most {self._largest}, and training.batch_size to match"
            )
        if batch_size % self.block == 0:
            return None
        return (
            f"sampler pk makes sets of {self.block} records; batches of {batch_size} cut them: "
            f"set training.batch_size to a multiple of {self.block}, or other numbers in pk"
        )
