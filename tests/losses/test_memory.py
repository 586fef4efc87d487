"""No loss holds a matrix of all pairs, with masks and mining neither."""

import re
import subprocess
import sys

import pytest

_PEAK = """
import re, torch
from pathlib import Path
from seqcl.losses.base import Known
from seqcl.registry import registry

torch.set_num_threads(1)

def resident(field):
    status = Path("/proc/self/status").read_text()
    return int(re.search(field + r":\\s+(\\d+) kB", status)[1]) / 1024

def steps(n):
    a, b = (torch.randn(n, 32, requires_grad=True) for _ in range(2))
    codes = torch.arange(n) % 10
    known = Known(codes, codes, torch.arange(n), recordings=codes)
    for name, options in {
        "nt_xent": {"exclude": ("label",), "exclude_steps": 9, "exclude_above": 0.9},
        "info_nce": {"candidates": 64},
        "hard_negative": {"exclude": ("group",)},
        "supcon": {},
        "triplet": {"positives": "view"},
        "sigmoid": {"exclude": ("label",)},
        "margin": {"positives": "view"},
    }.items():
        registry("losses")[name](**options)(a, b, known).backward()
    registry("losses")["triplet"](mining="hard")(a, b, known).backward()

steps(64)
before = resident("VmRSS")
steps(2048)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_2048_records_take_less_memory_than_their_matrix() -> None:
    done = subprocess.run([sys.executable, "-c", _PEAK], check=True, capture_output=True, text=True)
    assert re.fullmatch(r"\d+\.\d+\n", done.stdout)
    # The float32 matrix of 4,096 rows is 64 MB and each loss would hold several; rows take 0.5.
    assert 1 < float(done.stdout) < 40
