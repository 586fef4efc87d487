from __future__ import annotations

import numpy as np
import pytest

from seqcl.data.windows import Span, Windows


def plain(lengths: list[int], window: int, hop: int) -> list[tuple[int, int]]:
    """(recording, start) of every window, one by one."""
    found = []
    for recording, length in enumerate(lengths):
        start = 0
        while start + window <= length:
            found.append((recording, start))
            start += hop
        if found[-1][1] + window < length:
            found.append((recording, length - window))
    return found


@pytest.mark.parametrize("window", [1, 4, 7])
@pytest.mark.parametrize("hop", [1, 3, 7, 20])
def test_windows_are_those_of_the_plain_loop(window: int, hop: int) -> None:
    lengths = [7, 8, 13, 14, 50, 7]
    windows = Windows(np.array(lengths), window, hop)
    span = windows.locate(np.arange(len(windows)))
    assert list(zip(span.recording, span.start, strict=True)) == plain(lengths, window, hop)
    assert set(span.length) == {window}


def test_the_last_window_is_aligned_to_the_end_so_that_no_step_is_lost() -> None:
    windows = Windows(np.array([10]), 4, 4)
    assert windows.spans(0) == ((0, 4), (4, 8), (6, 10))


def test_without_a_remainder_there_is_no_extra_window() -> None:
    assert Windows(np.array([12]), 4, 4).spans(0) == ((0, 4), (4, 8), (8, 12))


def test_without_a_window_a_row_is_a_whole_recording() -> None:
    windows = Windows(np.array([5, 3]))
    span = windows.locate(np.array([1, 0]))
    assert (span.recording.tolist(), span.start.tolist()) == ([1, 0], [0, 0])
    assert span.length.tolist() == [3, 5]


def test_spans_of_a_recording_agree_with_locate() -> None:
    windows = Windows(np.array([9, 30, 11]), 8, 5)
    span = windows.locate(np.arange(len(windows)))
    for recording in range(3):
        mine = span[np.flatnonzero(span.recording == recording)]
        expected = tuple(zip(mine.start.tolist(), (mine.start + 8).tolist(), strict=True))
        assert windows.spans(recording) == expected
        assert len(windows.rows(recording)) == len(mine)


def test_a_recording_below_the_window_is_a_programmers_fault() -> None:
    with pytest.raises(ValueError, match="3 steps is below the window 4"):
        Windows(np.array([10, 3]), 4)


def test_joined_stretches_cover_each_step_once_and_cut_bounds_them() -> None:
    rng = np.random.default_rng(0)
    recording = np.sort(rng.integers(0, 4, 60))
    start = rng.integers(0, 200, 60)
    order = np.lexsort((start, recording))
    spans = Span(recording[order], start[order], np.full(60, 9))
    steps = {(r, s + k) for r, s in zip(recording, start, strict=True) for k in range(9)}
    pieces = spans.joined().cut(5)
    found = [
        (r, s + k)
        for r, s, n in zip(pieces.recording, pieces.start, pieces.length, strict=True)
        for k in range(n)
    ]
    assert len(found) == len(set(found))
    assert set(found) == steps
    assert pieces.length.max() <= 5
