"""Skips are counted: one that nobody expects fails the whole run of the tests.

`waits`: nothing in a training step may wait for a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from shutil import which

import pytest
import torch
from waiting import Waits

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EXPECTED = {
    "needs a CUDA device": 0 if torch.cuda.is_available() else 26,
    "triton is not installed": 0 if find_spec("triton") else 30,
    "may read everything (root)": 1 if os.geteuid() == 0 else 0,
    "torchvision": 0 if find_spec("torchvision") else 6,
    "onnxruntime": 0 if find_spec("onnxruntime") else 7,
    "qdrant_client": 0 if find_spec("qdrant_client") else 5,
    "needs Chromium and playwright": 0
    if any(map(which, _BROWSERS)) and find_spec("playwright")
    else 2,
    "SEQCL_DATA": 0 if os.environ.get("SEQCL_DATA") else 17,
}
"""Reason of a skip, and how many tests have it in a run of the whole suite on this machine."""


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """Collect what would wait; the test fails if there is any. Tensors count as on a GPU."""
    for module in ("modalities.image.chosen", "encoders.norm"):
        monkeypatch.setattr(f"seqcl.{module}.may_be_read", lambda _: False)
    watch = Waits()
    yield watch
    assert watch.found == []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compare the skips of a whole run with those expected."""
    config = session.config
    if hasattr(config, "workerinput"):  # of pytest-xdist: the controller counts them all
        return
    if config.getoption("keyword") or config.args_source.name == "ARGS":
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reasons = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    counts = {text: sum(text in reason for reason in reasons) for text in EXPECTED}
    if counts != EXPECTED or sum(counts.values()) != len(reasons):
        reporter.write_line(f"\nskips: {counts}, expected: {EXPECTED}; all: {reasons}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
