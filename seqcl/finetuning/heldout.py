"""HeldOut: labelled records that are never trained on, seen as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.data.collate import Collate, collate_rows
from seqcl.data.dataset import Dataset
from seqcl.errors import DataError
from seqcl.views.base import Frontend

__all__ = ["HeldOut", "hold_out"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Batches of labelled records, unaugmented, in the dataset's order."""

    dataset: Dataset
    collate: Collate
    frontend: Frontend
    targets: Tensor
    """One row a record, see `Targets.table`."""
    batch_size: int

    def batches(self, device: torch.device) -> Iterator[Batch]:
        """Yield what the encoder takes, on `device`."""
        for first in range(0, len(self.dataset), self.batch_size):
            rows = range(first, min(first + self.batch_size, len(self.dataset)))
            yield self.frontend(collate_rows(self.dataset, rows, self.collate).to(device))


def hold_out(groups: Ints, codes: Ints, fraction: float, seed: int) -> Ints:
    """Choose rows to hold out: whole groups, about `fraction` of each class.

    Every class keeps a record to train on, so one that is in a single group is held out nowhere.

    Args:
        groups: (N,) group numbers.
        codes: (N,) classes; all equal = not stratified.
        fraction: above 0, below 1.
        seed: of the choice.

    Raises DataError where nothing can be held out.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    rows = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    order = np.random.default_rng((seed, 1)).permutation(len(rows)).tolist()
    left = np.bincount(codes)
    wanted = np.round(fraction * left)
    allowed = 2 * fraction * len(codes)
    held: list[Ints] = []
    for is_last_chance in (False, True):  # one group, where all shares round to none
        for members in [rows[place] for place in order] * (not (is_last_chance and held)):
            counts = np.bincount(codes[members], minlength=len(left))
            own = counts > 0
            is_wanted = wanted[own].max() >= 1 and len(members) <= allowed
            if (left - counts)[own].min() > 0 and (is_wanted or (is_last_chance and not held)):
                held.append(members)
                left, wanted, allowed = left - counts, wanted - counts, allowed - len(members)
    if not held:
        raise DataError(
            "nothing can be held out for validation: every class would lose its only group of "
            "records; give --val, or set finetune.validation=0 to train to the last step"
        )
    return np.sort(np.concatenate(held))
