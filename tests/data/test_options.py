from __future__ import annotations

from typing import get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError

from seqcl.data.options import DataOptions
from seqcl.data.reader import Columns


def test_the_selection_is_what_a_reader_must_pick() -> None:
    options = DataOptions(columns=("x",), time="t", label="y", group="g", delimiter=";", window=8)
    assert options.selection == Columns(
        values=("x",), time="t", label="y", group="g", delimiter=";"
    )


def test_annotations_resolve_and_carry_the_ranges() -> None:
    assert set(get_type_hints(DataOptions)) == set(DataOptions.__dataclass_fields__)
    adapter = TypeAdapter(DataOptions)
    for wrong in ({"window": 0}, {"hop": -1}, {"max_skipped": 1.5}, {"missing": "mean"}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_a_hop_without_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hop=4 has no window to move; set data\.window too"):
        DataOptions(hop=4)


def test_images_have_no_cache() -> None:
    with pytest.raises(
        ValueError, match=r"cache=st\.h5: keeps decoded audio, and these are images"
    ):
        DataOptions(layout="CHW", cache="st.h5")
    assert DataOptions(layout="CT", cache="decoded").cache == "decoded"
