"""Rows at any times against intervals computed one by one."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.modalities.sequence.codes import label_ranks
from seqcl.modalities.sequence.grid import Grid, OverlongError
from seqcl.modalities.sequence.timestamps import DisorderError

S = 10**9


def irregular(rows: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(0, 9 * S, rows)) - 5 * S  # some before 1970, some equal
    times[rows // 2 :] += 60 * S
    values = rng.normal(size=(rows, 3)).astype(np.float32)
    values[rng.random((rows, 3)) < 0.3] = np.nan
    return values, times, rng.integers(-1, 4, rows).astype(np.int32)


def plainly(values, times, codes, texts, every):
    """Return (value, time, code of the highest number, last code) of each interval, by loops."""
    found = []
    for start in range(times[0] // every, times[-1] // every + 1):
        inside = [row for row in range(len(times)) if times[row] // every == start]
        means = []
        for channel in range(values.shape[1]):
            present = [v for v in values[inside, channel].tolist() if v == v]
            means.append(sum(present) / len(present) if present else np.nan)
        known = [code for code in codes[inside].tolist() if code >= 0]
        high = max(known, key=lambda code: float(texts[code]), default=-1)
        found.append((means, start * every, high, known[-1] if known else -1))
    return found


@pytest.mark.parametrize("every", [1 * S, 7 * S, 40 * S])
@pytest.mark.parametrize("pieces", [1, 2, 7, 60])
def test_intervals_are_those_of_a_plain_loop_however_rows_are_cut(every: int, pieces: int) -> None:
    values, times, codes = irregular(60)
    texts = ("0.5", "3", "-1", "2")
    grid = Grid(every, 3, labelled=True)
    out = []
    for rows in np.array_split(np.arange(60), pieces):
        out.append(grid.push(values[rows], times[rows], codes[rows], label_ranks(texts)))
    out.append(grid.flush())
    found = np.concatenate(out)
    wanted = plainly(values, times, codes, texts, every)
    np.testing.assert_allclose(found["values"], [one[0] for one in wanted], rtol=1e-6)
    assert found["time"].tolist() == [one[1] for one in wanted]
    assert found["label"].tolist() == [one[2] for one in wanted]
    assert found["last"].tolist() == [one[3] for one in wanted]
    assert (grid.rows, grid.intervals) == (60, len(wanted))
    filled = len(set((times // every).tolist()))
    assert grid.empty == len(wanted) - filled
    assert every > S * 7 or grid.empty > 0


def test_rows_of_an_interval_may_come_in_any_order_and_those_of_a_closed_one_may_not() -> None:
    grid = Grid(10 * S, 1)
    one = np.ones((1, 1), np.float32)
    for second in (5, 3, 3, 9):
        assert not len(grid.push(second * one, np.array([second * S])))
    assert grid.push(one, np.array([10 * S]))["values"].tolist() == [[5.0]]
    with pytest.raises(DisorderError) as caught:
        grid.push(one[[0, 0]], np.array([19 * S, 9 * S]))
    assert (caught.value.row, caught.value.before, caught.value.after) == (1, 19 * S, 9 * S)


def test_a_grid_far_longer_than_its_rows_is_refused_before_it_is_made() -> None:
    values, times = np.ones((2, 1), np.float32), np.array([0, 10**18])
    with pytest.raises(OverlongError) as caught:
        Grid(10**6, 1).push(values, times)
    assert (caught.value.intervals, caught.value.rows) == (10**12, 2)
    assert len(Grid(10**14, 1).push(values, times)) == 10_000


def test_the_open_interval_goes_on_from_its_state() -> None:
    values, times, _ = irregular(40, seed=1)
    whole, first, second = (Grid(7 * S, 3) for _ in range(3))
    wanted = np.concatenate([whole.push(values, times), whole.flush()])
    found = [first.push(values[:23], times[:23])]
    second.restore(first.state())
    found += [second.push(values[23:], times[23:]), second.flush()]
    together = np.concatenate(found)
    assert together["time"].tolist() == wanted["time"].tolist()
    np.testing.assert_array_equal(together["values"], wanted["values"])
    with pytest.raises(ValueError, match="intervals of 7000000000 ns"):
        Grid(S, 3).restore(first.state())
