"""What searches return, and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from seqcl.batch import Label

__all__ = ["Identification", "Match", "Place", "SearchResult", "as_json"]


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of a recording of the index."""

    file: str
    recording: str
    start: float | None
    """Steps; None where a query is identified by whole recordings, which tell no place."""
    start_s: float | None
    """Seconds; None where the rate is not known either."""
    length_s: float | None
    label: Label | None
    group: str | None
    entry: int
    """Number of the (nearest) entry of the index."""


@dataclass(frozen=True, slots=True)
class Match:
    """An entry that is near a query."""

    rank: int
    """From 1."""
    place: Place
    score: float
    """Cosine; higher = more alike."""
    probability: float | None
    """That it is of the query's source, see `seqcl.retrieval.calibration`; None = unknown."""
    margin: float | None
    """Score less that of the next match; None for the last there is."""
    query_start: int
    """First step of the query's window that matched, from where the query begins."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The matches of one query, best first."""

    query: str
    first: int
    """Step of the recording at which the query begins."""
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Identification:
    """Which recording a query is from, and where in it."""

    query: str
    known: bool | None
    """False: a stranger; None where the index could not learn to tell."""
    confidence: float | None
    """Probability that `place` is right."""
    place: Place | None
    """Best recording, at the step where the query begins; None where nothing is near."""
    score: float
    """Mean cosine along the alignment."""
    lead: float
    """Score less the median of the other candidates'."""
    speed: float = 1.0
    """How many times as fast as the recording the query is, where the index tries speeds."""


def as_json(found: SearchResult | Identification) -> dict[str, Any]:
    """Return a result as plain values; the fields of a place stand beside the others."""
    facts = asdict(found)
    if isinstance(found, SearchResult):
        return {**facts, "matches": [_flat(match) for match in facts["matches"]]}
    return _flat(facts)


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in facts.items() if name != "place"}
    return {**rest, **(facts["place"] or {})}
