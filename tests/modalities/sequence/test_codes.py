from __future__ import annotations

import pyarrow as pa
import pytest

from seqcl.modalities.sequence.codes import Codes, labels_of


def test_codes_follow_first_appearance_over_blocks():
    codes = Codes()
    assert codes.encode(pa.array(["b", "a", None, "b"])).tolist() == [0, 1, -1, 0]
    assert codes.encode(pa.array(["c", "a"])).tolist() == [2, 1]
    assert codes.encode(pa.array([None, None], pa.string())).tolist() == [-1, -1]
    assert codes.texts == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["0", "1"], (0, 1)),
        (["0.0", "1.0", "1"], (0, 1, 1)),
        (["-1", "2e0"], (-1, 2)),
        (["0.5", "1"], (0.5, 1.0)),
        (["1", "walk"], ("1", "walk")),
        (["False", "True"], (0, 1)),
        (["true", "maybe"], ("true", "maybe")),
        ([], ()),
    ],
)
def test_labels_are_all_of_one_kind(texts, labels):
    found = labels_of(texts)
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]
