"""Timelines as SVG and PNG: what is drawn, and where."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from seqcl.report.ticks import row_ticks, time_ticks
from seqcl.report.timeline import Timeline, Track, draw_timelines, write_timelines

LEFT, PLOT, INCIDENT, SCORE = 64, 916, "#fbdcc6", "#0b5c8a"
MINUTE = 60 * 10**9
START = int(np.datetime64("2024-05-31T23:50:00", "ns").astype(np.int64))


def timeline(steps: int = 100, **changes: object) -> Timeline:
    values = np.sin(np.arange(steps) / 5)
    given = {
        "title": "pump <1>", "notes": ["one incident"], "score": values, "threshold": 0.5,
        "incidents": [(40, 59, 47)], "tracks": [Track("flow & heat", "90%", values)],
    }  # fmt: skip
    return Timeline(**(given | changes))


def shapes(*timelines: Timeline) -> list[tuple[str, dict[str, str], str]]:
    root = ElementTree.fromstring(draw_timelines(timelines).svg())
    return [(item.tag.rpartition("}")[2], item.attrib, item.text or "") for item in root]


def filled(colour: str, *timelines: Timeline) -> list[dict[str, str]]:
    return [item for tag, item, _ in shapes(*timelines) if item.get("fill") == colour]


def test_incidents_are_shaded_in_every_panel_where_their_rows_are() -> None:
    boxes = [box for box in filled(INCIDENT, timeline()) if float(box["height"]) > 20]
    assert len(boxes) == 2  # score and one channel
    for box in boxes:
        assert float(box["x"]) == pytest.approx(LEFT + 0.4 * PLOT, abs=0.1)
        assert float(box["width"]) == pytest.approx(0.2 * PLOT, abs=0.1)


def test_the_shortest_incident_can_be_seen_and_stays_inside() -> None:
    for row in (0, 99_999):
        one = timeline(100_000, incidents=[(row, row, row)])
        for box in filled(INCIDENT, one)[1:]:
            assert float(box["width"]) >= 2
            assert LEFT - 0.1 <= float(box["x"]) <= LEFT + PLOT - 2 + 0.1


def test_a_long_series_keeps_its_extremes_and_few_points() -> None:
    score = np.zeros(1_000_000)
    score[654_321] = 9.0
    (line,) = [item for tag, item, _ in shapes(timeline(1_000_000, score=score, tracks=[]))
               if tag == "polyline" and item["stroke"] == SCORE]  # fmt: skip
    points = np.array([pair.split(",") for pair in line["points"].split()], float)
    assert len(points) == 2 * PLOT
    assert points[points[:, 1].argmin(), 0] == pytest.approx(LEFT + 0.654321 * PLOT, abs=1.1)


def test_a_missing_value_breaks_the_line_and_one_value_between_is_drawn() -> None:
    score = np.arange(10.0)
    score[[3, 5]] = np.nan
    one = timeline(10, score=score, tracks=[], incidents=[])
    lines = [item["points"].split() for tag, item, _ in shapes(one)
             if tag == "polyline" and item["stroke"] == SCORE]  # fmt: skip
    assert [len(points) for points in lines] == [3, 2, 4]


def test_texts_are_escaped_and_nothing_known_draws_an_empty_panel() -> None:
    nothing = np.full(20, np.nan)
    one = timeline(20, score=nothing, incidents=[], tracks=[Track("all missing", "", nothing)])
    texts = [text for tag, _, text in shapes(timeline(), one) if tag == "text"]
    assert {"pump <1>", "one incident", "flow & heat", "90%", "all missing"} <= set(texts)


def test_labels_are_a_band_and_named_in_the_legend() -> None:
    labelled = np.arange(100) >= 75
    found = filled("#009e73", timeline(labelled=labelled, tracks=[]))
    assert [float(box["width"]) for box in found] == pytest.approx([12, PLOT / 4], abs=0.1)
    assert not filled("#009e73", timeline())


def test_a_png_shows_the_same_at_twice_the_size(tmp_path: Path) -> None:
    write_timelines(tmp_path / "a.png", [timeline(), timeline()])
    image = Image.open(tmp_path / "a.png").convert("RGB")
    canvas = draw_timelines([timeline(), timeline()])
    assert image.size == (2 * canvas.width, 2 * canvas.height)
    middle = tuple(int(INCIDENT[at : at + 2], 16) for at in (1, 3, 5))
    pixels = np.asarray(image)
    shaded = (pixels == middle).all(axis=2).any(axis=0)
    shaded[int(2 * (LEFT + 0.7 * PLOT)) :] = False  # the legend
    first, last = np.flatnonzero(shaded)[[0, -1]] / 2
    assert first == pytest.approx(LEFT + 0.4 * PLOT, abs=1)
    assert last == pytest.approx(LEFT + 0.6 * PLOT, abs=1)
    write_timelines(tmp_path / "a.svg", [timeline()])
    assert re.match("<svg ", (tmp_path / "a.svg").read_text())


def test_ticks_stand_at_round_times_and_name_a_new_day() -> None:
    times = START + np.arange(60) * MINUTE
    assert time_ticks(times)[:3] == [
        (0, "05-31 23:50"), (10, "06-01 00:00"), (20, "00:10"),
    ]  # fmt: skip
    assert [text for _, text in time_ticks(START + np.arange(30) * 24 * 60 * MINUTE)][:2] == [
        "2024-06-06", "2024-06-13",
    ]  # fmt: skip
    assert time_ticks(times[:1]) == [(0, "05-31 23:50:00.000")]


def test_ticks_of_rows_are_round() -> None:
    assert row_ticks(1_145)[:3] == [(0, "0"), (200, "200"), (400, "400")]
    assert row_ticks(3) == [(0, "0"), (1, "1"), (2, "2")]
