"""Durations as people write them: 500ms, 10s, 5min, 1h30min, 1d."""

from __future__ import annotations

import re

__all__ = ["KNOWN_DURATIONS", "duration_ns", "duration_text"]

KNOWN_DURATIONS = "500ms, 10s, 5min, 1h, 1d (or joined: 1h30min)"

_NS = {
    "d": 86_400 * 10**9, "h": 3_600 * 10**9, "min": 60 * 10**9, "s": 10**9, "ms": 10**6,
    "us": 10**3,
}  # fmt: skip
_SPELLINGS = {
    "day": "d", "days": "d", "hr": "h", "hour": "h", "hours": "h",
    "m": "min", "minute": "min", "minutes": "min",
    "sec": "s", "second": "s", "seconds": "s", "msec": "ms", "usec": "us", "µs": "us",
}  # fmt: skip
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]+)")
_LONGEST = 366 * _NS["d"]


def duration_ns(text: str) -> int:
    """Return the nanoseconds of a duration; raises ValueError that names the known forms."""
    rest, total = text.strip().lower(), 0.0
    while found := _PART.match(rest):
        unit = _SPELLINGS.get(found[2], found[2])
        if unit not in _NS:
            break
        total += float(found[1]) * _NS[unit]
        rest = rest[found.end() :]
    if rest.strip() or not text.strip():
        raise ValueError(f"{text!r} is no duration; write it as {KNOWN_DURATIONS}")
    if not _NS["us"] <= total <= _LONGEST:
        raise ValueError(f"{text!r} is not between 1us and 366d; write it as {KNOWN_DURATIONS}")
    return round(total)


def duration_text(nanoseconds: float) -> str:
    """Return a duration in the unit that makes it shortest: ``90s``, ``1.5h``; four digits."""
    texts = {unit: f"{nanoseconds / size:.4g}" for unit, size in _NS.items() if nanoseconds >= size}
    exact = {unit: t for unit, t in texts.items() if float(t) * _NS[unit] == nanoseconds}
    unit, text = min(
        (exact or texts or {"ns": f"{nanoseconds:.4g}"}).items(),
        key=lambda item: len("".join(item)),
    )
    return f"{text}{unit}"
