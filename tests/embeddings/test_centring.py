"""Embeddings less the mean of their group."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.batch import Embeddings
from seqcl.embeddings.centring import centre_groups
from seqcl.errors import DataError

VALUES = np.random.default_rng(0).normal(3.0, 1.0, (6, 4)).astype(np.float32)


def test_each_group_has_mean_0_and_keeps_its_differences() -> None:
    groups = ("b", "a", "b", "a", "b", "c")
    found = centre_groups(Embeddings(VALUES, tuple("uvwxyz"), groups=groups))
    for name in "abc":
        rows = [place for place, group in enumerate(groups) if group == name]
        np.testing.assert_allclose(found.values[rows].mean(0), 0, atol=1e-6)
        apart = VALUES[rows] - VALUES[rows[0]]
        np.testing.assert_allclose(found.values[rows] - found.values[rows[0]], apart, atol=1e-6)
    assert found.ids == tuple("uvwxyz")
    assert found.groups == groups


def test_steps_have_the_group_of_their_record() -> None:
    found = centre_groups(
        Embeddings(VALUES, ("u", "v"), groups=("a", "b"), lengths=np.array([4, 2]))
    )
    np.testing.assert_allclose(found.values[:4], VALUES[:4] - VALUES[:4].mean(0), atol=1e-6)
    np.testing.assert_allclose(found.values[4:], VALUES[4:] - VALUES[4:].mean(0), atol=1e-6)


@pytest.mark.parametrize("groups", [None, ("a", None, "a", "b", "b", "b")])
def test_a_record_without_a_group_is_refused(groups: tuple[str | None, ...] | None) -> None:
    with pytest.raises(DataError, match="records have no group; name the column"):
        centre_groups(Embeddings(VALUES, tuple("uvwxyz"), groups=groups))
