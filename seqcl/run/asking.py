"""Queries of an index, one after the other: what cannot be read is passed over, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from seqcl.data.dataset import Dataset
from seqcl.data.source import Skipped
from seqcl.errors import DataError, UsageError
from seqcl.retrieval.searcher import Searcher

__all__ = ["Answers", "ask_each"]

T = TypeVar("T")


@dataclass(frozen=True)
class Answers(Generic[T]):
    """What was found for the queries, in their order."""

    found: tuple[T, ...]
    skipped: tuple[Skipped, ...]
    """Queries that could not be read or asked for, and files and recordings in them."""
    notes: tuple[str, ...]


def ask_each(
    index: Searcher, queries: Sequence[str], ask: Callable[[Dataset], Sequence[T]]
) -> Answers[T]:
    """Open each query (a file, a folder or a glob) and ask for what is in it.

    Raises DataError or UsageError where none can be read or asked for: that of the first.
    """
    found: list[T] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    faults: list[DataError | UsageError] = []
    for query in queries:
        try:
            dataset = index.embedder.open(query)
        except DataError as error:
            faults.append(error)
            skipped.append(_skipped(query, error))
            continue
        try:
            found += ask(dataset)
        except (DataError, UsageError) as error:
            if not _is_noted(error, dataset):
                if isinstance(error, UsageError):
                    raise
                skipped.append(_skipped(query, error))
            faults.append(error)
        skipped += dataset.skipped
        notes += dataset.notes
    if len(faults) == len(queries):
        raise faults[0]
    return Answers(tuple(found), tuple(skipped), tuple(dict.fromkeys(notes)))


def _skipped(query: str, error: DataError) -> Skipped:
    return Skipped(query, str(error).removeprefix(f"{query}: "))


def _is_noted(error: DataError | UsageError, dataset: Dataset) -> bool:
    """Return whether an error is of a recording that was left out, not of what is asked."""
    return any(item.reason == str(error) for item in dataset.skipped)
