"""Embeddings less the mean of their group: what a speaker, a machine or a room has in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seqcl.batch import Embeddings
from seqcl.errors import DataError

__all__ = ["centre_groups"]


def centre_groups(found: Embeddings) -> Embeddings:
    """Return the embeddings less the mean over the rows of their group among them.

    As speech recognition normalises cepstra by speaker (Viikki and Laurila 1998). No label is
    read; a group needs records enough for its mean to tell what they have in common, not what
    they are. The embedding of a record then depends on its group's other records.

    Raises DataError where a record has no group.
    """
    groups = found.groups or (None,) * len(found)
    if without := sum(group is None for group in groups):
        raise DataError(
            f"--centre group: {without:,} of {len(found):,} records have no group; name the column "
            "that holds it with data.group"
        )
    names, codes = np.unique(np.array(groups, dtype=str), return_inverse=True)
    if found.lengths is not None:
        codes = np.repeat(codes, found.lengths)
    values = found.values.copy()
    for code in range(len(names)):
        rows = codes == code
        values[rows] -= values[rows].mean(0, dtype=np.float64).astype(values.dtype)
    return replace(found, values=values)
