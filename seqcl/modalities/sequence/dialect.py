"""How a text table is written: delimiter, decimal mark, header, and what its cells hold."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from seqcl.modalities.sequence.tablefile import Kind
from seqcl.modalities.sequence.timestamps import is_time

__all__ = [
    "MISSING",
    "decimal_mark",
    "is_header",
    "is_missing",
    "is_number",
    "kind_of",
    "sniff_delimiter",
]

DELIMITERS = "\t;,"
MISSING = ("", "NA", "na", "NaN", "nan", "NAN", "null", "NULL", "Null")
PLACEHOLDERS = frozenset({"n/a", "#n/a", "-", "--", "?", "none", "missing", "error", "bad"})
"""What loggers write for want of a number: a column of these is a broken channel, no text."""

_NUMBER = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|inf(inity)?|nan)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def is_missing(cell: str) -> bool:
    """Tell whether a cell says that there is no value."""
    return cell.strip() in MISSING


def is_number(cell: str, decimal: str = ".") -> bool:
    """Tell whether a cell is a number with this decimal mark."""
    text = cell.strip()
    return _NUMBER.fullmatch(text if decimal == "." else text.replace(decimal, ".")) is not None


def is_header(row: Sequence[str]) -> bool:
    """Tell whether no cell of the first row is a number or a time.

    A row 0, 1, 2, ... of three and more is a header too: the names that a saved array gets.
    """
    cells = [cell for cell in row if not is_missing(cell)]
    if len(cells) > 2 and cells == [str(place) for place in range(len(cells))]:
        return True
    return bool(cells) and not any(is_number(cell) or is_time(cell) for cell in cells)


def sniff_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that gives most rows the same number of fields, more than one."""

    def evenness(delimiter: str) -> float:
        try:
            widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
        except csv.Error:  # a field beyond all measure: not this delimiter
            return 0.0
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        return count / widths.total() if width > 1 else 0.0

    return max(DELIMITERS, key=evenness) if any(map(evenness, DELIMITERS)) else ","


def decimal_mark(rows: Iterable[Sequence[str]]) -> str:
    """Return a comma where numbers are written 3,14 and none is written 3.14."""
    cells = [cell.strip() for row in rows for cell in row]
    has_comma = any(map(_DECIMAL_COMMA.fullmatch, cells))
    has_point = any("." in cell and is_number(cell) for cell in cells)
    return "," if has_comma and not has_point else "."


def kind_of(cells: Iterable[str], decimal: str) -> Kind:
    """Return what a column holds by its first cells; an empty one may yet be numbers."""
    present = [cell.strip() for cell in cells if not is_missing(cell)]
    numbers = sum(is_number(cell, decimal) for cell in present)
    if numbers == len(present):
        return "number"
    if all(map(is_time, present)):
        return "time"
    if all(cell.lower() in ("true", "false") for cell in present):
        return "flag"
    is_broken = numbers or all(cell.lower() in PLACEHOLDERS for cell in present)
    return "mixed" if is_broken else "text"
