"""Clusters of exceedances: what they are, and how many there are of known processes."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.detection.clusters import clusters_of, extremal_index, run_length


def test_a_cluster_ends_where_the_next_exceedance_is_further_than_the_run() -> None:
    found = clusters_of([3, 4, 6, 9, 20, 22], run=2)
    assert found.first.tolist() == [3, 9, 20]
    assert found.last.tolist() == [6, 9, 22]
    assert found.sizes.tolist() == [3, 1, 2]
    assert found.effective == pytest.approx(6**2 / (9 + 1 + 4))


def test_no_exceedance_is_no_cluster() -> None:
    assert len(clusters_of([], run=3)) == 0
    assert clusters_of([], run=3).effective == 0
    assert extremal_index([]) == extremal_index([5]) == 1
    assert run_length([5]) == 1


def test_independent_exceedances_are_clusters_of_one() -> None:
    places = np.flatnonzero(np.random.default_rng(0).random(100_000) < 0.01)
    assert extremal_index(places) > 0.95
    assert len(clusters_of(places, run_length(places))) > 0.95 * len(places)


@pytest.mark.parametrize("width", [2, 5])
def test_the_moving_maximum_has_the_extremal_index_of_its_width(width: int) -> None:
    draws = np.random.default_rng(0).random(200_000)
    moving = np.lib.stride_tricks.sliding_window_view(draws, width).max(1)
    places = np.flatnonzero(moving > np.quantile(moving, 0.99))
    # 1 / width in theory (O'Brien 1987); about 2,000 / width clusters were seen
    assert extremal_index(places) == pytest.approx(1 / width, rel=0.15)
    found = clusters_of(places, run_length(places))
    assert len(found) / len(places) == pytest.approx(1 / width, rel=0.2)
