"""Group-aware batches: positives inside a recording, across recordings, or never inside one."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from seqcl.data.dataset import Dataset
from seqcl.data.samplers.balanced import refuse_unlabelled
from seqcl.data.samplers.base import Rows, Sampler
from seqcl.data.samplers.members import Members, hands, sets_of
from seqcl.errors import DataError

__all__ = ["GroupedSampler"]


class GroupedSampler(Sampler):
    """Sets of records by group (subject, machine, recording), K = `records` in a set.

    A recording without a group is a group of its own. An epoch has as many rows as the dataset,
    rounded to whole sets or rounds; sets and groups are as frequent as each other.

    Args:
        dataset: what to order.
        positives: `within`: a set is of one group, for losses whose positives are of one
            recording. `across`: a set is of one class, each record of another group where the
            class has so many, so that positives are found in another recording (needs labels).
            `none`: no two records of a batch are of one group, so none is a false negative; the
            groups come in one order an epoch, round after round.
        records: K; not used by `none`.

    Raises DataError where the groups or labels do not allow it.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        positives: Literal["within", "across", "none"] = "within",
        records: Annotated[int, Ge(2)] = 4,
    ) -> None:
        super().__init__(dataset)
        self.positives = positives
        self.records = 1 if positives == "none" else records
        self._groups = Members(dataset.group_codes)
        self._classes = self._groups
        if positives == "within" and self.size > 1 and self._groups.counts.max() < 2:
            raise DataError(
                "sampler grouped: no two records are of one group; set data.group, cut recordings "
                "by data.window, or use training.sampler=shuffle"
            )
        if positives == "across":
            refuse_unlabelled("grouped", dataset, "label them or use positives=within")
            self._classes = Members(dataset.label_codes)
            self._by_class = [_groups_of(dataset, rows) for rows in _each(self._classes)]
            self._refuse_lonely(dataset)
        self._sets = max(1, self.size // self.records)
        if positives == "none":
            self._sets = self.size // len(self._groups) * len(self._groups)

    def __len__(self) -> int:
        """Rows of every epoch."""
        return self._sets * self.records

    def epoch(self, seed: int, epoch: int) -> Rows:
        """Return rows, set after set."""
        rng = np.random.default_rng((seed, epoch))
        kinds = len(self._classes)
        rounds = -(-self._sets // kinds)
        if self.positives == "none":
            order = np.tile(rng.permutation(kinds), rounds)
        else:
            order = hands(kinds, kinds, rounds, rng).ravel()[: self._sets]
        if self.positives != "across":
            return sets_of(self._classes, order, self.records, rng).ravel()
        rows = np.empty((self._sets, self.records), dtype=np.int64)
        for place, groups in enumerate(self._by_class):
            mine = np.flatnonzero(order == place)
            chosen = hands(len(groups), self.records, len(mine), rng)
            drawn = sets_of(groups, chosen.ravel(), 1, rng).reshape(chosen.shape)
            rows[mine] = self._classes[place][drawn]
        return rows.ravel()

    def fault(self, batch_size: int) -> str | None:
        """Return what is wrong with batches that cut a set, or that need a group twice."""
        if self.positives == "none" and batch_size > len(self._groups):
            return (
                f"sampler grouped, positives=none: batches of {batch_size} need as many groups, "
                f"there are {len(self._groups)}: set training.batch_size to at most that"
            )
        if batch_size % self.records:
            return (
                f"sampler grouped makes sets of {self.records} records; batches of {batch_size} "
                f"cut them: set training.batch_size to a multiple of {self.records}"
            )
        return None

    def _refuse_lonely(self, dataset: Dataset) -> None:
        for place, groups in enumerate(self._by_class):
            if len(groups) < 2 and self.size > 1:
                row = int(self._classes[place][0])
                raise DataError(
                    f"sampler grouped, positives=across: class {dataset.labels[row]!r} is in one "
                    f"group only, that of {dataset.ids[row]}; give more groups, drop the class, or "
                    "use positives=within"
                )


def _each(members: Members) -> list[Rows]:
    return [members[place] for place in range(len(members))]


def _groups_of(dataset: Dataset, rows: Rows) -> Members:
    """Return the groups among `rows`; what they hold are places in `rows`."""
    return Members(dataset.group_codes[rows])
