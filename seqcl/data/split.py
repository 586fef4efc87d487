"""Splits that leak nothing: by group, so that none is in both; by time, with a gap."""

from __future__ import annotations

import numpy as np

from seqcl.data.dataset import Dataset
from seqcl.errors import DataError

__all__ = ["split_by_group", "split_by_time"]


def split_by_group(dataset: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Hold out whole groups, in random order, as close to `fraction` of the records as they come.

    A recording without a group is a group of its own, so windows of one recording stay together.
    Returns the rest and what is held out, each in the dataset's order; both have at least one
    group. Raises DataError where there is one group only.
    """
    _check_fraction(fraction)
    groups, sizes = np.unique(dataset.group_codes, return_counts=True)
    if len(groups) < 2:
        raise DataError(
            f"{dataset.ids[0]} and all other records are one group; a split by group needs two: "
            "name more recordings, or split by time"
        )
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    missing = fraction * len(dataset)
    chosen: list[int] = []
    for place in order:
        if sizes[place] <= 2 * missing and len(chosen) < len(groups) - 1:
            chosen.append(place)
            missing -= sizes[place]
    held_out = groups[chosen or [int(np.argmin(sizes))]]
    out = np.isin(dataset.group_codes, held_out)
    return dataset.subset(np.flatnonzero(~out)), dataset.subset(np.flatnonzero(out))


def split_by_time(dataset: Dataset, fraction: float, gap_steps: int) -> tuple[Dataset, Dataset]:
    """Hold out the last `fraction` of each recording, `gap_steps` after what comes before it.

    Windows that reach into the gap, or across it, are in neither part, so the two share no step.
    Returns the earlier and the later part. Raises DataError where a part would be empty, as it
    is for a dataset of whole recordings.
    """
    _check_fraction(fraction)
    spans = dataset.spans
    cut = np.floor(dataset.recordings.lengths[spans.recording] * (1 - fraction)).astype(np.int64)
    earlier = np.flatnonzero(spans.start + spans.length <= cut)
    later = np.flatnonzero(spans.start >= cut + gap_steps)
    if not len(earlier) or not len(later):
        raise DataError(
            f"{dataset.ids[0]}: a split by time at {1 - fraction:.0%} with a gap of {gap_steps} "
            f"steps leaves {len(earlier)} records before and {len(later)} after it; set "
            "data.window (smaller than now) or a smaller gap, or split by group"
        )
    return dataset.subset(earlier), dataset.subset(later)


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}; must be between 0 and 1")
