"""Speeds that are tried, and what is brought to speed 1."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.retrieval.queries import windows_at
from seqcl.retrieval.speeds import speeds_within, stretched


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0.0, (1.0,)),
        (0.01, (1.0, 0.99, 1.01)),
        (0.015, (1.0, 0.9925, 1.0075, 0.985, 1.015)),
    ],
)
def test_speeds_lie_a_hundredth_apart_at_most(most: float, expected: tuple[float, ...]) -> None:
    assert speeds_within(most) == pytest.approx(expected)


def test_the_speeds_of_a_fifth_are_distinct_and_reach_both_ends() -> None:
    found = speeds_within(0.2)
    assert (len(found), found[0], min(found), max(found)) == (41, 1.0, 0.8, 1.2)
    assert len(set(found)) == 41


@pytest.mark.parametrize("speed", [0.9, 0.97, 1.05, 1.2])
def test_a_faster_tone_is_brought_to_its_own_pitch(speed: float) -> None:
    steps, pitch = 400, 0.05
    played = np.sin(pitch * speed * np.arange(steps))[None].astype(np.float32)
    found = stretched(played, speed)
    assert found.shape == (1, round(steps * speed))
    inside = slice(0, int((steps - 1) * speed))
    expected = np.sin(pitch * np.arange(found.shape[1]))
    np.testing.assert_allclose(found[0, inside], expected[inside], atol=1e-3)


@pytest.mark.parametrize("speed", [0.95, 1.0, 1.05])
def test_long_queries_are_cut_alike_at_every_speed_and_no_coarser_than_the_index(
    speed: float,
) -> None:
    for steps, hop in ((100, 1), (400, 2), (900, 4), (9_000, 4)):
        values = np.arange(steps, dtype=np.float32)[None]
        windows, starts = windows_at(values, speed, 16, 1, 4)
        assert set(np.diff(starts).tolist()) == {hop}
        assert starts[-1] + 16 <= round(steps * speed) < starts[-1] + 16 + hop
        assert {window.shape for window in windows} == {(1, 16)}
    assert windows_at(values[:, :16], 0.9, 16, 1, 4)[0] == []


def test_channels_are_apart_and_a_gap_stays_where_it_was() -> None:
    values = np.stack((np.arange(20.0), np.where(np.arange(20) == 10, np.nan, 1.0)))
    found = stretched(values.astype(np.float32), 2.0)
    assert found.shape == (2, 40)
    np.testing.assert_allclose(found[0, :38], np.arange(38) / 2, atol=1e-6)
    assert set(np.flatnonzero(np.isnan(found[1])).tolist()) <= {19, 20, 21}
    assert np.isnan(found[1, 20])
