"""What an earlier detector finds usual: low scores, also of a state that lasts."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.detection.detector import Detector
from seqcl.detection.series import Series
from seqcl.detection.usual import usual_stretches
from seqcl.registry import Spec


def machine(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turns = np.sin(2 * np.pi * np.arange(rows) / 20)[:, None]
    return (turns + 0.2 * rng.normal(size=(rows, 2))).astype(np.float32)


@pytest.fixture(scope="module")
def detector() -> Detector:
    detector = Detector(scorers=(Spec("scorers", "kernel_distance"), Spec("scorers", "mean_shift")))
    detector.fit([Series(machine(2_000, 0))])
    return detector


def test_a_fault_and_what_is_near_it_are_left_out(detector: Detector) -> None:
    values = machine(3_000, 1)
    values[1_500:1_540] += 4
    times, labels = np.arange(3_000), np.zeros(3_000, np.int64)
    found = list(usual_stretches(detector, Series(values, "pump", times, labels)))
    kept = np.concatenate([part.times for part in found if part.times is not None])
    assert not set(range(1_500 - detector.window // 2, 1_540 + detector.window // 2)) & set(kept)
    assert len(kept) > 1_500
    assert min(map(len, found)) >= 6 * detector.window
    for part in found:
        assert part.times is not None
        first = int(part.times[0])
        assert part.id == ("pump" if first == 0 else f"pump from row {first}")
        np.testing.assert_array_equal(part.values, values[part.times])
        assert part.labels is not None
        assert len(part.labels) == len(part)


def test_a_state_that_lasts_becomes_usual(detector: Detector) -> None:
    values = machine(8_000, 2)
    values[1_000:] += 3
    kept = sum(
        len(part) for part in usual_stretches(detector, Series(values, times=np.arange(8_000)))
        if part.times is not None and part.times[0] > 1_000
    )  # fmt: skip
    assert kept > 2_000


def test_of_a_short_recording_nothing_is_usual(detector: Detector) -> None:
    assert not list(usual_stretches(detector, Series(machine(40, 3))))
