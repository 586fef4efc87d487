"""What is held out."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.errors import DataError
from seqcl.finetuning.heldout import hold_out


def test_whole_groups_of_every_class_are_held_out() -> None:
    groups = np.repeat(np.arange(30), 4)
    codes = groups % 3
    rows = hold_out(groups, codes, 0.2, seed=0)
    rest = np.setdiff1d(np.arange(120), rows)
    assert not set(groups[rows]) & set(groups[rest])
    assert np.bincount(codes[rows]).tolist() == [8, 8, 8]
    assert hold_out(groups, codes, 0.2, seed=0).tolist() == rows.tolist()
    assert hold_out(groups, codes, 0.2, seed=1).tolist() != rows.tolist()


def test_every_class_keeps_a_record() -> None:
    codes = np.array([0, 0, 0, 0, 0, 1])
    for seed in range(20):
        assert 5 not in hold_out(np.arange(6), codes, 0.4, seed)


def test_a_share_that_rounds_to_nothing_is_one_group() -> None:
    assert len(hold_out(np.arange(4), np.array([0, 0, 1, 1]), 0.1, 0)) == 1


def test_nothing_can_be_held_out_of_one_group() -> None:
    with pytest.raises(DataError, match="give --val, or set finetune.validation=0"):
        hold_out(np.zeros(8, int), np.arange(8) % 2, 0.2, 0)
