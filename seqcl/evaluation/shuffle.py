"""Orders that depend on record ids alone, so that every system gets the same draw."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

__all__ = ["shuffled_by_class"]


def shuffled_by_class(
    ids: Sequence[str], codes: npt.NDArray[np.int64], seed: int
) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each class in a random order that is a function of `seed` and the ids.

    The order of the records, and which other records there are, do not matter. `codes` (N,) are
    the classes 0..K-1; records with a negative code are in no class.
    """
    keys = np.array(
        [int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=7).digest()) for name in ids]
    )
    order = np.argsort(keys, kind="stable")
    return [order[codes[order] == code] for code in range(int(codes.max()) + 1)]
