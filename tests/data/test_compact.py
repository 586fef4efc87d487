from __future__ import annotations

import numpy as np
import pytest

from seqcl.data.compact import Mapped, Strings


def squares(size: int) -> Mapped[int]:
    return Mapped(lambda places: [int(place) ** 2 for place in places], size)


def test_a_mapped_sequence_is_like_the_tuple_of_its_items() -> None:
    found, expected = squares(10_000), tuple(n**2 for n in range(10_000))
    assert tuple(found) == expected
    assert found == expected
    assert found[7] == 49
    assert found[-1] == expected[-1]
    assert found[3:9:2] == expected[3:9:2]
    assert len(found) == 10_000
    assert 81 in found
    assert hash(found) == hash(expected)


def test_a_mapped_sequence_makes_no_item_before_it_is_asked() -> None:
    made: list[int] = []

    def make(places: np.ndarray) -> list[int]:
        made.extend(places.tolist())
        return places.tolist()

    found = Mapped(make, 1_000_000)
    assert found[999_999] == 999_999
    assert repr(found) == "(0, 1, 2, ...: 1000000 items)"
    assert made == [999_999, 0, 1, 2]


def test_a_mapped_sequence_ends() -> None:
    with pytest.raises(IndexError):
        squares(3)[3]


def test_strings_give_back_what_went_in() -> None:
    words = ("", "pump", "Größe", "x\udcff", "")  # the fourth is a file name that is not UTF-8
    found = Strings(words)
    assert tuple(found) == words
    assert found[-2] == "x\udcff"
    assert found[1:3] == ("pump", "Größe")
    assert tuple(found.take(np.array([2, 0]))) == ("Größe", "")


def test_strings_hash_apart_where_only_their_borders_differ() -> None:
    assert bytes(Strings(["ab", "c"])) != bytes(Strings(["a", "bc"]))
