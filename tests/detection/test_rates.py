"""False-alarm rates as they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from seqcl.detection.calibration import calibrate
from seqcl.detection.rates import AskedRate, rounded_up, rows_per_day
from seqcl.errors import DataError, UsageError
from seqcl.run.detecting import RuleOptions, rules_for


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("0.5%", 0.005, "share"),
        ("0.01", 0.01, "share"),
        ("1/day", 1, "day"),
        (" 2 / hour ", 48, "day"),
        ("7/week", 1, "day"),
    ],
)
def test_a_rate_is_read(text: str, value: float, unit: str) -> None:
    asked = AskedRate.parse(text)
    assert asked.value == pytest.approx(value)
    assert asked.unit == unit


@pytest.mark.parametrize("text", ["", "often", "0%", "-1/day", "1/fortnight", "100%", "1e", "2"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"give a share of rows \(0.5%\) or alarms a day"):
        AskedRate.parse(text)


def test_alarms_a_day_need_to_know_how_long_a_row_is() -> None:
    assert AskedRate(2, "day").per_row(1440) == pytest.approx(2 / 1440)
    assert AskedRate(0.1, "share").per_row(None) == 0.1
    with pytest.raises(UsageError, match="2/day needs time stamps or a rate"):
        AskedRate(2, "day").per_row(None)


def test_a_day_has_the_rows_of_the_rate_or_of_the_median_step() -> None:
    minutes = np.arange(10, dtype=np.int64) * 60 * 10**9
    assert rows_per_day(rate_hz=0.5) == 43_200
    assert rows_per_day(times=minutes) == 1440
    assert rows_per_day(rate_hz=5, times=np.append(minutes, minutes[-1] * 100)) == 1440
    assert rows_per_day(rate_hz=1, times=minutes[:1]) == 86_400
    assert rows_per_day() is None
    with pytest.raises(DataError, match="do not rise"):
        rows_per_day(times=minutes[::-1])


def test_a_rate_is_told_in_the_unit_that_was_asked_for_and_never_too_low() -> None:
    assert AskedRate.parse("1/day").told(57 / 1440, 1440) == "57/day"
    assert AskedRate.parse("2/hour").told(2 / 60, 1440) == "2/hour"
    assert AskedRate.parse("1/week").told(0.001, 1440) == "10.1/week"
    assert AskedRate.parse("0.5%").told(0.11961, None) == "12% of rows"
    for rate in np.random.default_rng(0).lognormal(size=100):
        assert rate <= rounded_up(rate) <= 1.01 * rate


def test_a_refused_rate_and_the_lowest_one_have_the_unit_that_was_asked_for() -> None:
    learnt = calibrate(np.random.default_rng(0).normal(size=1000))
    with pytest.raises(UsageError, match=r"cannot promise 1/day: .* support 17.3/day at the low"):
        rules_for(learnt, RuleOptions(far="1/day"), 1440)
    rules_for(learnt, RuleOptions(far="17.3/day"), 1440)
    with pytest.raises(UsageError, match=r"cannot promise 0.1% of rows: .* [0-9.]+% of rows at"):
        rules_for(learnt, RuleOptions(far="0.1%"), None)
    with pytest.raises(UsageError, match="50%: half of the rows or more .* less than 50% of rows"):
        rules_for(learnt, RuleOptions(far="50%"), None)


def test_what_cannot_be_promised_can_be_followed() -> None:
    learnt = calibrate(np.random.default_rng(0).normal(size=1000))
    rules = rules_for(learnt, RuleOptions(far="1/day", adaptive=True), 1440)
    assert rules.following is not None
    assert (rules.following.rate, rules.following.counts) == (1 / 1440, "incidents")
    usual = rules_for(learnt, RuleOptions(adaptive=True), None)
    assert usual.following is not None
    assert (usual.following.rate, usual.following.counts) == (0.005, "rows")
    assert usual.threshold == rules_for(learnt, RuleOptions(), None).threshold
    with pytest.raises(UsageError, match="50%: half of the rows or more"):
        rules_for(learnt, RuleOptions(far="50%", adaptive=True), None)
    with pytest.raises(UsageError, match="10/hour: half of the rows or more .* less than 6/hour"):
        rules_for(learnt, RuleOptions(far="10/hour", adaptive=True), 288)
