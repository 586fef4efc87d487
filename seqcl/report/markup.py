"""Text and numbers as safe HTML, and values as JSON that cannot leave its script element."""

from __future__ import annotations

import json
import re
from html import escape
from numbers import Integral
from typing import Any

__all__ = ["clean", "json_text", "number", "safe"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_JSON_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def clean(text: str) -> str:
    """Replace what a UTF-8 page cannot hold: lone surrogates of file names, control characters."""
    encodable = text.encode("utf-8", "backslashreplace").decode()
    return _CONTROL.sub("\ufffd", encodable)


def safe(text: str) -> str:
    """Return `text` for an element or a quoted attribute."""
    return escape(clean(text))


def number(value: float) -> str:
    """Write a number for people: ``1,234``, ``0.865``, ``3.2e-05``; an en dash for NaN."""
    if isinstance(value, Integral):
        return f"{value:,}"
    if value != value:
        return "–"
    if value == 0 or 0.001 <= abs(value) < 10:
        return f"{value + 0.0:.3f}"  # -0.0 + 0.0 is 0.0
    return f"{value:,.1f}" if 10 <= abs(value) < 1e6 else f"{value:.3g}"


def json_text(value: Any) -> str:
    """Return JSON for a script element; NaN is a ValueError.

    It holds no ``<``, ``>`` or ``&``, so neither ``</script`` nor ``<!--`` can occur.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.translate(_JSON_ESCAPES)
