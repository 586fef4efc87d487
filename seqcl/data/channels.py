"""Channels of different files, brought into one order by their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqcl.data.reader import default_channels
from seqcl.errors import DataError

__all__ = ["match_channels"]


def match_channels(
    wanted: Sequence[str], found: Sequence[str], *, named: bool, where: str
) -> npt.NDArray[np.int64]:
    """Return the place in `found` of each wanted channel.

    Named channels are matched by name, in any order. Where either side has no names of its own
    (an array, a file without a header) their number must agree and their order is taken as it is.

    Raises DataError that names the missing and the extra channels, or both numbers.
    """
    if tuple(wanted) == tuple(found):
        return np.arange(len(wanted))
    if not named or tuple(wanted) == default_channels(len(wanted)):
        if len(wanted) != len(found):
            raise DataError(
                f"{where}: has {_count(found)}, needs {_count(wanted)} ({_list(wanted)}); give the "
                "same channels in the same order, or files that name them"
            )
        return np.arange(len(wanted))
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    if missing or extra or len(wanted) != len(found):
        raise DataError(f"{where}: {_differences(missing, extra, wanted, found)}")
    return np.array([list(found).index(name) for name in wanted], dtype=np.int64)


def _differences(
    missing: Sequence[str], extra: Sequence[str], wanted: Sequence[str], found: Sequence[str]
) -> str:
    parts = []
    if missing:
        parts.append(f"missing channels: {_list(missing)}")
    if extra:
        parts.append(f"extra channels: {_list(extra)}")
    if not parts:
        return f"a channel is named twice in {_list(found)}; names must differ"
    needed = f"needed: {_list(wanted)}"
    return f"{'; '.join(parts)}; {needed}; choose the common ones with data.columns"


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} channel{'' if len(names) == 1 else 's'}"


def _list(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > most else shown
