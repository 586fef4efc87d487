from __future__ import annotations

import pytest

from seqcl.data.duration import duration_ns, duration_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5), ("10s", 10), ("10 s", 10), ("0.25s", 0.25), ("5min", 300), ("5m", 300),
        ("1h", 3_600), ("1d", 86_400), ("1h30min", 5_400), ("1 hour 1 second", 3_601),
        ("250us", 0.00025),
    ],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert duration_ns(text) == seconds * 1e9


@pytest.mark.parametrize("text", ["", "10", "s", "10 parsecs", "-5s", "1h30", "5s!", "ten s"])
def test_another_text_is_refused_with_the_forms_that_are_known(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration; write it as 500ms, 10s, 5min, 1h, 1d"):
        duration_ns(text)


@pytest.mark.parametrize("text", ["0s", "999d", "0.1us"])
def test_a_duration_beyond_all_measure_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not between 1us and 366d"):
        duration_ns(text)


@pytest.mark.parametrize("text", ["10s", "1.5h", "1d", "500ms", "61.3s", "250us"])
def test_a_duration_is_written_in_its_shortest_form(text: str) -> None:
    assert duration_text(duration_ns(text)) == text


def test_a_duration_that_is_no_round_number_has_four_digits() -> None:
    assert duration_text(123_456_789) == "123.5ms"
