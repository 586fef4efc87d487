"""Source: what ``--data SRC`` stands for, as recordings with the reader of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from seqcl.batch import Entry
from seqcl.data.reader import Columns, Reader

__all__ = ["Skipped", "Source"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, or a recording in one, that was passed over."""

    path: str
    reason: str


class Source(ABC):
    """Finds recordings; ``scheme:name`` on the command line makes ``Source(name, columns)``.

    Attributes:
        name: what follows the scheme, or the path itself.
        skipped: what `entries` passed over, filled while it runs.
    """

    kind: ClassVar[str] = "sources"

    def __init__(self, name: str, columns: Columns) -> None:
        self.name = name
        self.columns = columns
        self.skipped: list[Skipped] = []

    @abstractmethod
    def entries(self) -> Iterable[tuple[Reader, Entry]]:
        """Yield every recording with the reader that reads it, in a fixed order.

        Raises MissingInputError where there is nothing, DataError where nothing can be read.
        """
