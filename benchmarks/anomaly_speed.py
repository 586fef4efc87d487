"""What a detector costs, whether its memory stays flat, and whether it names the right channel.

    python benchmarks/anomaly_speed.py --out STEM [--rows 1000000] [--quick]

Eight channels of a machine with a shared rhythm of 64 rows, drawn by a seed, one thread:
CPU-seconds to fit 10,000 rows, rows a second offline, latency of a stream row by row, resident
memory over many rows in batches of 256. Then 100 anomalies of random kinds, each in one channel,
64 rows long: how often the channel has the largest share at the highest score, or one of three.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from measuring import resident_mb, table

from seqcl.detection.detector import Detector
from seqcl.detection.incidents import Rules
from seqcl.detection.live import Live
from seqcl.detection.series import Series
from seqcl.files import atomic_write

Floats = npt.NDArray[np.float32]
CHANNELS, PERIOD = 8, 64


def main() -> None:
    """Measure, then write STEM.json and STEM.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="stem of the files to write")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the memory's stream")
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = 20_000 if options.quick else options.rows
    detector = Detector(window=PERIOD)
    fit_s = _cpu_seconds(lambda: detector.fit([Series(machine(10_000, 0))]))
    test = machine(20_000, 1)
    score_s = _cpu_seconds(lambda: detector.score(test))
    median, high = _latencies(detector, test[:2_000])
    grown = _memory(detector, rows)
    first, three = _channels(detector)
    records = [
        {"what": "fit 10,000 x 8, CPU-seconds", "value": round(fit_s, 1)},
        {"what": "offline, rows a second", "value": round(len(test) / score_s)},
        {"what": "stream, row by row, ms, median", "value": round(median, 1)},
        {"what": "stream, row by row, ms, 99 %", "value": round(high, 1)},
        {"what": f"memory grown over {rows:,} rows, MB", "value": round(grown, 1)},
        {"what": "channel named first", "value": first},
        {"what": "channel among the first three", "value": three},
    ]
    atomic_write(options.out.with_suffix(".json"), json.dumps(records, indent=1) + "\n")
    text = table(records) + "\n"
    atomic_write(options.out.with_suffix(".md"), text)
    print(text)


def machine(rows: int, seed: int) -> Floats:
    """Return (rows, 8): a rhythm that all channels share, each with noise of its own."""
    rng = np.random.default_rng(seed)
    phases, heights = np.random.default_rng(99).uniform(0.5, 1.5, (2, CHANNELS))
    wave = np.sin(2 * np.pi * np.arange(rows)[:, None] / PERIOD + phases)
    return (heights * wave + 0.3 * rng.normal(size=(rows, CHANNELS))).astype(np.float32)


def _cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _latencies(detector: Detector, values: Floats) -> tuple[float, float]:
    """Return the median and the 99th percentile in ms, once the stream is warm."""
    live = Live(detector, Rules(threshold=1e9))
    live.push(values[: detector.reach])
    taken = []
    for row in values[detector.reach :]:
        begun = time.perf_counter()
        live.push(row[None])
        taken.append(1e3 * (time.perf_counter() - begun))
    median, high = np.percentile(taken, [50, 99])
    return float(median), float(high)


def _memory(detector: Detector, rows: int) -> float:
    """Return how many MB a stream grows by after its first tenth."""
    live, block = Live(detector, Rules(threshold=1e9)), machine(256 * 40, 2)
    begun = 0.0
    for number in range(rows // 256):
        first = number % 40 * 256
        live.push(block[first : first + 256])
        if number == rows // 2_560:
            begun = resident_mb("VmRSS")
    return resident_mb("VmRSS") - begun


def _channels(detector: Detector, count: int = 100) -> tuple[float, float]:
    """Return how often the channel that was changed has the largest share, and one of three."""
    rng = np.random.default_rng(5)
    first = three = 0
    for number in range(count):
        values, channel = machine(1_500, 100 + number), int(rng.integers(CHANNELS))
        stretch = slice(900, 964)
        kind = number % 5
        own = values[stretch, channel].copy()
        if kind == 0:
            own += rng.choice([-1, 1]) * rng.uniform(1, 3)
        elif kind == 1:
            own += rng.uniform(0.5, 1.5) * rng.normal(size=64)
        elif kind == 2:
            own[:] = own[0]
        elif kind == 3:
            own = values[932:996, channel]  # half a period away
        else:
            own += np.linspace(0, rng.choice([-1, 1]) * rng.uniform(2, 4), 64)
        values[stretch, channel] = own
        score = detector.score(values).fused
        (found,) = detector.explain(values, [850 + int(score[850:1_014].argmax())])
        ranked = np.argsort(-found.shares).tolist()
        first += ranked[0] == channel
        three += channel in ranked[:3]
    return first / count, three / count


if __name__ == "__main__":
    main()
