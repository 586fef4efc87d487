from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqcl.batch import Record
from seqcl.data.store import Store

READ_ALL = """
import resource, sys
from itertools import islice
from seqcl.data import Collate, DataOptions, Loader, Scaler, open_dataset
from seqcl.registry import registry
dataset = open_dataset([sys.argv[1]], DataOptions(window=256))
scaler = Scaler(3)
scaler.fit(dataset)
loader = Loader(dataset, Collate(scaler), registry("samplers")["shuffle"](dataset), 64, seed=0)
for batch in islice(loader.batches(), loader.steps_per_epoch):
    assert batch.values.shape == (64, 3, 256)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("steps", [100_000, 2_000])  # a few long recordings, many short ones
def test_reading_ten_times_the_data_takes_no_more_memory(tmp_path: Path, steps: int) -> None:
    rng = np.random.default_rng(0)
    peaks = []
    for total in (300_000, 3_000_000):  # 3.6 and 36 MB
        path = tmp_path / f"{total}.h5"
        count = total // steps
        values = rng.standard_normal((3, steps), dtype=np.float32)
        Store.write(path, (Record(values, f"r{number}") for number in range(count)))
        done = subprocess.run(
            [sys.executable, "-c", READ_ALL, str(path)], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] - peaks[0] < 8_000  # KB, of 32,400 KB that the second file holds more
