from __future__ import annotations

import pytest

from seqcl.data.channels import match_channels
from seqcl.errors import DataError


def match(wanted: str, found: str, named: bool = True) -> list[int]:
    places = match_channels(wanted.split(), found.split(), named=named, where="a.csv")
    return places.tolist()


def test_named_channels_are_matched_by_name_in_any_order() -> None:
    assert match("x y z", "z x y") == [1, 2, 0]
    assert match("x y", "x y") == [0, 1]


def test_channels_without_names_are_matched_by_place() -> None:
    assert match("x y", "c0 c1", named=False) == [0, 1]
    assert match("c0 c1", "x y") == [0, 1]


@pytest.mark.parametrize(
    ("wanted", "found", "named", "message"),
    [
        ("x y", "x z", True, "a.csv: missing channels: y; extra channels: z; needed: x, y; choose"),
        ("x y", "x", True, "missing channels: y; needed: x, y"),
        (
            "x",
            "x y",
            True,
            "extra channels: y; needed: x; choose the common ones with data.columns",
        ),
        ("x y", "c0", False, "has 1 channel, needs 2 channels"),
        ("c0", "x y", True, "has 2 channels, needs 1 channel "),
        ("x y", "x y y", True, "named twice in x, y, y"),
    ],
)
def test_other_channels_are_an_error_that_names_them(
    wanted: str, found: str, named: bool, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        match(wanted, found, named)


def test_a_long_list_of_channels_is_cut_short() -> None:
    names = " ".join(f"s{number}" for number in range(300))
    with pytest.raises(DataError, match=r"\.\.\. \(300 in all\)") as caught:
        match(names, "x")
    assert len(str(caught.value)) < 400
