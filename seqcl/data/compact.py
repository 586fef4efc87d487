"""Sequences that hold no Python object per item: a million ids cost their letters."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

__all__ = ["Mapped", "Strings"]

T = TypeVar("T")
Places = npt.NDArray[np.int64]

_BLOCK = 4_096


class Mapped(Sequence[T], Generic[T]):
    """A sequence whose items are made when asked for, a block at a time.

    Compares equal to a tuple of the same items; a slice is a tuple.

    Args:
        make: from places (n,) int64 to their n items.
        size: how many items there are.
    """

    def __init__(self, make: Callable[[Places], Sequence[T]], size: int) -> None:
        self._make = make
        self._size = size

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        places = range(self._size)[index]
        if isinstance(places, int):
            return self._make(np.array([places]))[0]
        return tuple(self._make(np.array(places, dtype=np.int64)))

    def __iter__(self) -> Iterator[T]:
        for first in range(0, self._size, _BLOCK):
            yield from self._make(np.arange(first, min(first + _BLOCK, self._size)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, tuple | Mapped):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        shown = ", ".join(repr(item) for item in self[:3])
        return f"({shown}{', ...' if self._size > 3 else ''}: {self._size} items)"


class Strings(Sequence[str]):
    """Strings in one growing buffer: UTF-8 bytes, and where each string ends."""

    def __init__(self, items: Iterable[str] = ()) -> None:
        self._buffer = bytearray()
        self._ends = array("q")
        for item in items:
            self.append(item)

    def append(self, item: str) -> None:
        """Add one string at the end."""
        self._buffer += item.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._buffer))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        places = range(len(self._ends))[index]
        if isinstance(places, range):
            return tuple(self[place] for place in places)
        first = self._ends[places - 1] if places else 0
        return self._buffer[first : self._ends[places]].decode("utf-8", "surrogateescape")

    def take(self, places: Places) -> Strings:
        """Return the strings at `places`."""
        return Strings(self[place] for place in places.tolist())

    def __bytes__(self) -> bytes:
        """Return all strings and their ends, for a hash."""
        return bytes(self._buffer) + self._ends.tobytes()
