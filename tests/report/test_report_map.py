from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from seqcl.report import ReportContent, Scatter, render_report
from seqcl.report.scatter import map_payload
from seqcl.report.thumbnails import thumbnail

_LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_all_points_are_drawn_once(scatter: Scatter) -> None:
    payload = map_payload(scatter)
    assert sorted(payload["id"]) == sorted(scatter.ids)
    assert payload["total"] == 30
    for row, name in enumerate(payload["id"]):
        label = scatter.labels[scatter.ids.index(name)]
        assert payload["classes"][payload["label"][row]] == (label or "unlabelled")


def test_places_fill_the_grid_and_keep_their_order(scatter: Scatter) -> None:
    payload = map_payload(scatter)
    rows = [scatter.ids.index(name) for name in payload["id"]]
    for axis, places in enumerate((payload["x"], payload["y"])):
        assert (min(places), max(places)) == (0, 4095)
        given = scatter.points[rows, axis]
        assert np.corrcoef(places, given)[0, 1] == pytest.approx(1, abs=1e-6)  # grid of 4,096


def test_a_direction_without_spread_is_drawn_in_the_middle() -> None:
    points = np.array([[0.0, 5.0], [1.0, 5.0]])
    payload = map_payload(Scatter(points=points, ids=["a", "b"]))
    assert sorted(payload["x"]) == [0, 4095]
    assert payload["y"] == [2048, 2048]


def test_subsampling_keeps_the_classes_in_proportion_and_is_said() -> None:
    labels = ["common"] * 7500 + ["rare"] * 2500
    points = np.random.default_rng(0).normal(size=(10_000, 2))
    scatter = Scatter(points=points, ids=[str(row) for row in range(10_000)], labels=labels)
    payload = map_payload(scatter)
    drawn = Counter(payload["classes"][code] for code in payload["label"])
    assert sum(drawn.values()) == len(set(payload["id"])) == 2000
    assert abs(drawn["rare"] - 500) <= 1
    assert payload["counts"] == [7500, 2500]
    page = render_report(ReportContent(title="t", scatter=scatter))
    assert "2,000 of 10,000 records are drawn, each class in proportion." in page


def test_two_thousand_points_are_not_called_a_sample() -> None:
    scatter = Scatter(points=np.random.default_rng(0).normal(size=(2000, 2)), ids=["a"] * 2000)
    assert "are drawn" not in render_report(ReportContent(title="t", scatter=scatter))


def test_records_without_coordinates_are_left_out_and_counted() -> None:
    points = np.array([[0.0, 1.0], [np.nan, 1.0], [1.0, np.inf]])
    scatter = Scatter(points=points, ids=["a", "b", "c"])
    assert map_payload(scatter)["id"] == ["a"]
    page = render_report(ReportContent(title="t", scatter=scatter))
    assert "2 without finite coordinates are left out." in page


def test_only_drawn_series_are_read() -> None:
    class Lazy(Sequence):
        read = 0

        def __len__(self) -> int:
            return 5000

        def __getitem__(self, row: int) -> np.ndarray:
            Lazy.read += 1
            return np.zeros((1, 10))

    points = np.random.default_rng(0).normal(size=(5000, 2))
    map_payload(Scatter(points=points, ids=["a"] * 5000, series=Lazy()))
    assert Lazy.read == 2000


def test_an_empty_map_is_drawn_empty() -> None:
    payload = map_payload(Scatter(points=np.zeros((0, 2)), ids=[]))
    assert payload["x"] == payload["y"] == payload["id"] == []


def test_class_names_sort_as_people_count() -> None:
    labels = ["walk 10", 10, None, "walk 2", 2, 1.5, "nan", ("a", "b")]
    scatter = Scatter(points=np.zeros((8, 2)), ids=list("abcdefgh"), labels=labels)
    expected = ["1.5", "2", "10", "a + b", "nan", "walk 2", "walk 10", "unlabelled"]
    assert map_payload(scatter)["classes"] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.zeros((3, 2))}, r"points are \(3, 2\) for 2 ids; needed is \(2, 2\)"),
        ({"labels": ["a"]}, "1 labels for 2 ids"),
        ({"series": []}, "0 series for 2 ids"),
    ],
)
def test_parts_of_unequal_length_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scatter(**({"points": np.zeros((2, 2)), "ids": ["a", "b"]} | change))


def _decode(text: str, low: float, high: float) -> list[float]:
    return [low + (high - low) * _LEVELS.index(code) / 63 for code in text]


def test_a_short_series_keeps_each_step_to_half_a_level() -> None:
    values = np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)
    ((text, low, high),) = thumbnail(values)
    half_level = (high - low) / 63 / 2
    assert np.abs(np.array(_decode(text, low, high)) - values[0]).max() <= half_level * 1.02


@pytest.mark.parametrize("steps", [65, 100, 128, 1000])
def test_a_long_series_is_averaged_to_64_values(steps: int) -> None:
    row = np.random.default_rng(1).normal(size=steps)
    ((text, low, high),) = thumbnail(row[None])
    bounds = [place * steps // 64 for place in range(65)]
    means = [row[a:b].mean() for a, b in pairwise(bounds)]
    assert len(text) == 64
    half_level = (high - low) / 63 / 2
    assert np.abs(np.array(_decode(text, low, high)) - means).max() <= half_level * 1.05


def test_missing_steps_are_dots_and_do_not_move_the_rest() -> None:
    row = np.arange(128, dtype=np.float64)
    row[:4], row[7] = np.nan, np.inf
    ((text, low, high),) = thumbnail(row[None])
    assert text[:2] == ".."
    assert "." not in text[2:]
    assert (low, high) == (4.5, 126.5)


def test_constant_and_absent_channels_have_a_picture_too() -> None:
    values = np.array([[2.0, 2.0, 2.0], [np.nan] * 3])
    assert thumbnail(values) == [("AAA", 2.0, 2.0), ("...", None, None)]
    assert thumbnail(np.zeros((1, 0))) == [("", None, None)]


def test_at_most_three_channels_are_kept() -> None:
    assert len(thumbnail(np.zeros((9, 10)))) == 3
