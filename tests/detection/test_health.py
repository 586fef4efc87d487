"""Runs of a recording, and the same runs row by row."""

import numpy as np

from seqcl.detection.health import Health, longest_runs


def test_the_longest_runs_of_a_recording_are_those_of_a_stream_with_gaps() -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.6):
        values = rng.integers(0, 2, (200, 5)).astype(np.float32)
        values[rng.random(values.shape) < share] = np.nan
        nothing = np.zeros(5, np.int64)
        watch = Health(nothing, nothing, nothing > 0, 1_000)
        longest = {"missing": nothing, "stuck": nothing}
        for row, one in enumerate(values):
            watch.push(row, one)
            state = watch.state()
            longest = {kind: np.maximum(runs, state[kind]) for kind, runs in longest.items()}
        missing, equal = longest_runs([values])
        assert missing.tolist() == longest["missing"].tolist()
        assert equal.tolist() == longest["stuck"].tolist()


def test_a_channel_filled_every_second_row_is_not_stuck() -> None:
    values = np.repeat(np.arange(100, dtype=np.float32), 4)[:, None]
    values[1::2] = np.nan
    assert [runs.tolist() for runs in longest_runs([values])] == [[1], [2]]
