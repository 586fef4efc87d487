"""Matches as rows of a table or of CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seqcl.retrieval.matches import Identification, Place, SearchResult

__all__ = ["CSV_HEADER", "csv_rows", "identified_row", "table_rows"]

CSV_HEADER = (
    "query", "query_start", "rank", "file", "recording", "start", "start_s", "length_s", "label",
    "group", "score", "probability", "margin",
)  # fmt: skip

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_rows(results: Sequence[SearchResult]) -> Iterator[tuple[object, ...]]:
    """Yield a row for each match, with `CSV_HEADER`'s columns; unknown fields are empty.

    Text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    for result in results:
        for match in result.matches:
            place = match.place
            yield (
                _text(result.query), result.first + match.query_start, match.rank,
                _text(place.file), _text(place.recording), _whole(place.start),
                _known(place.start_s), _known(place.length_s),
                "" if place.label is None else _text(str(place.label)), _text(place.group or ""),
                match.score, _known(match.probability), _known(match.margin),
            )  # fmt: skip


def table_rows(result: SearchResult) -> Iterator[tuple[str, ...]]:
    """Yield a row of texts for each match."""
    for match in result.matches:
        place = match.place
        yield (
            str(match.rank), place.recording, _start(place),
            "" if place.label is None else str(place.label), f"{match.score:.4f}",
            "–" if match.probability is None else f"{match.probability:.2f}",
            "–" if match.margin is None else f"{match.margin:.4f}",
        )  # fmt: skip


def identified_row(found: Identification) -> tuple[str, ...]:
    """Return query, recording, start, score, lead, confidence and speed as texts."""
    place = found.place if found.known is not False else None
    return (
        found.query,
        "unknown" if place is None else place.recording,
        "" if place is None else _start(place),
        f"{found.score:.4f}",
        f"{found.lead:.4f}",
        "–" if found.confidence is None else f"{found.confidence:.2f}",
        f"{found.speed:.2f}",
    )


def _start(place: Place) -> str:
    if place.start is None:
        return "–"
    return f"{place.start:.0f}" if place.start_s is None else f"{place.start_s:.2f} s"


def _whole(value: float | None) -> object:
    return int(value) if value is not None and value.is_integer() else _known(value)


def _known(value: float | None) -> object:
    return "" if value is None else value


def _text(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
