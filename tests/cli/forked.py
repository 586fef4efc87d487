"""Processes that are forked from one which has imported torch and seqcl already."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

from torch import multiprocessing as mp

IMPORTED = ["seqcl.run", "seqcl.run.reporting", "seqcl.run.inspecting", "seqcl.run.picturing",
            "seqcl.run.checkup", "seqcl.modalities.sequence.aeon", "seqcl.methods.simclr",
            "seqcl.encoders.conv1d", "seqcl.evaluation.linear", "aeon.transformations.collection",
            "seqcl.evaluation.clustering"]  # fmt: skip
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(IMPORTED)


def in_processes(count: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(number, *arguments)`` in `count` processes at once; an error of one fails."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before the server starts, which keeps it
    mp.start_processes(work, arguments, nprocs=count, start_method="forkserver")
