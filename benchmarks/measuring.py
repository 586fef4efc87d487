"""What the speed benchmarks share: resident memory, a fresh process, a table."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def table_options(
    description: str | None, data: str, *, sets: str, quick: str
) -> argparse.ArgumentParser:
    """Return the options of a benchmark that makes a table over sets; the texts say its own."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help=data)
    parser.add_argument("--out", type=Path, required=True, help="stem of the files to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default=sets, help="names, comma-separated")
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def in_fresh_process(script: str, *what: object) -> float:
    """Return the number that ``SCRIPT --memory-of WHAT...`` prints."""
    command = [sys.executable, script, "--memory-of", *map(str, what)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def resident_mb(field: str) -> float:
    """Return VmRSS (now) or VmHWM (peak) of this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the records as a Markdown table, with the first one's keys as heads."""
    heads = tuple(records[0])
    rows = [heads, tuple("---" for _ in heads), *(tuple(r[h] for h in heads) for r in records)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)
