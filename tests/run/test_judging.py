"""Judgements of several recordings: means, and an interval where there are enough of them."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.run.judging import Judgement, _mean


def judged(values: np.ndarray) -> Judgement:
    return _mean([Judgement("a", x, x, x, delay=np.nan if x < 0.5 else x) for x in values])


def test_a_mean_has_an_interval_from_five_recordings_on() -> None:
    values = np.random.default_rng(0).random(40)
    found = judged(values)
    assert found.vus_pr == pytest.approx(values.mean())
    assert found.delay == pytest.approx(values[values >= 0.5].mean())
    assert found.vus_pr_low is not None
    assert found.vus_pr_high is not None
    half = (found.vus_pr_high - found.vus_pr_low) / 2
    assert half == pytest.approx(1.96 * values.std() / np.sqrt(40), rel=0.1)
    few = judged(values[:4])
    assert (few.vus_pr_low, few.vus_pr_high) == (None, None)


def test_what_cannot_be_counted_in_any_recording_is_none() -> None:
    assert judged(np.array([0.1, 0.2])).delay is None
