"""Which records depend on each other: those of a group, the windows of a recording."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
import numpy.typing as npt

from seqcl.batch import Embeddings

__all__ = ["independent", "units"]

Codes = npt.NDArray[np.int64]


def units(embeddings: Embeddings) -> Codes:
    """Return the number (N,) of each record's unit, which no draw and no fold divides.

    A unit is a group; where none is known, the recording that a window is cut from (its id up to
    the last ``@``); else the record.
    """
    names = embeddings.ids
    if embeddings.start is not None:
        names = tuple(name.rpartition("@")[0] for name in names)
    groups = embeddings.groups or [None] * len(names)
    return _numbered(
        (group, None if group is not None else name)
        for group, name in zip(groups, names, strict=True)
    )


def independent(codes: Codes) -> Codes:
    """Return units numbered by first appearance.

    Where all records are of one unit, each counts as its own: nothing could be drawn or held out
    otherwise, and what follows from that is too sure of itself.
    """
    found = _numbered(codes.tolist())
    return found if found.any() else np.arange(len(codes))


def _numbered(keys: Iterable[Hashable]) -> Codes:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
