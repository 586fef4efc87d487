"""Names that the tests of the command line share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Seqcl = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("--set", "encoder.widths=[8,8]", "--set", "training.batch_size=8")
"""An encoder and batches that cost nothing."""
