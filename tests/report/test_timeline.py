"""Timelines as SVG and PNG: what is drawn, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from PIL import Image

from seqcl.report.timeline import Timeline, Track, draw_timelines, write_timelines

INCIDENT, LABEL, MINUTE = "#fbdcc6", "#009e73", 60 * 10**9
START = int(np.datetime64("2024-05-31T23:50:00", "ns").astype(np.int64))


def timeline(steps: int = 100, **changes: object) -> Timeline:
    values = np.sin(np.arange(steps) / 5)
    given = {
        "title": "pump <1>", "notes": ["one incident"],
        "score": values, "threshold": np.full(len(values), 0.5),
        "incidents": [(40, 59, 47)], "tracks": [Track("flow & heat", "90%", values)],
    }  # fmt: skip
    return Timeline(**(given | changes))


def panels(*timelines: Timeline) -> list[Axes]:
    """Return the score's panel, then those of the channels."""
    return draw_timelines(timelines).axes


def boxes(panel: Axes, colour: str) -> list[tuple[float, float]]:
    """Return the first and last place of what is filled with a colour."""
    found = [box for box in panel.patches if to_hex(box.get_facecolor()) == colour]
    return [(box.get_x(), box.get_x() + box.get_width()) for box in found]


def curve(panel: Axes) -> Line2D:
    return panel.lines[0]


def test_incidents_are_shaded_in_every_panel_where_their_rows_are() -> None:
    score, channel = panels(timeline())
    assert boxes(score, INCIDENT) == boxes(channel, INCIDENT) == [(40, 59)]
    assert score.get_xlim() == channel.get_xlim() == (0, 99)


def test_the_shortest_incident_can_be_seen(tmp_path: Path) -> None:
    one = timeline(100_000, incidents=[(50_000, 50_000, 50_000)], score=np.zeros(100_000))
    write_timelines(tmp_path / "a.png", [one])
    assert shaded(tmp_path / "a.png").any()


def test_a_long_series_keeps_its_extremes_and_few_points() -> None:
    score = np.zeros(1_000_000)
    score[654_321] = 9.0
    (panel,) = panels(timeline(1_000_000, score=score, tracks=[]))
    x, y = curve(panel).get_data()
    assert len(x) < 5_000
    assert y.max() == 9.0
    assert x[y.argmax()] == pytest.approx(654_321, abs=1_000)


def test_a_missing_value_breaks_the_line_and_one_value_between_is_drawn() -> None:
    score = np.arange(10.0)
    score[[3, 5]] = np.nan
    (panel,) = panels(timeline(10, score=score, tracks=[], incidents=[]))
    assert np.array_equal(curve(panel).get_ydata(), score, equal_nan=True)
    assert panel.lines[1].get_xydata().tolist() == [[4, 4]]


def test_texts_are_as_they_are_and_nothing_known_draws_an_empty_panel(tmp_path: Path) -> None:
    nothing = np.full(20, np.nan)
    one = timeline(
        20, title="$x^2$", score=nothing, incidents=[], tracks=[Track("all missing", "", nothing)]
    )
    write_timelines(tmp_path / "a.svg", [timeline(), one])
    texts = [item.text for item in ElementTree.parse(tmp_path / "a.svg").iter() if item.text]
    assert {"pump <1>", "one incident", "flow & heat", "90%", "$x^2$", "all missing"} <= set(texts)


def test_labels_are_a_band_and_named_in_the_legend() -> None:
    def names(panel: Axes) -> list[Any]:
        return [text.get_text() for text in panel.get_legend().get_texts()]

    (panel,) = panels(timeline(labelled=np.arange(100) >= 75, tracks=[]))
    assert boxes(panel, LABEL) == [(75, 99)]
    assert names(panel) == ["score", "threshold", "incident", "labelled"]
    (panel,) = panels(timeline(tracks=[]))
    assert not boxes(panel, LABEL)
    assert names(panel) == ["score", "threshold", "incident"]


def test_rows_stand_at_their_times() -> None:
    times = START + np.arange(100) * MINUTE
    times[60:] += 600 * MINUTE  # a gap
    figure = draw_timelines([timeline(times=times)])
    figure.draw_without_rendering()
    first, last = boxes(figure.axes[0], INCIDENT)[0]
    left, right = figure.axes[0].get_xlim()
    assert (last - first) / (right - left) == pytest.approx(19 / 699)


def shaded(picture: Path) -> np.ndarray:
    """Return which columns of pixels below the legend have the colour of incidents."""
    pixels = np.asarray(Image.open(picture).convert("RGB"))[200:]
    colour = tuple(int(INCIDENT[at : at + 2], 16) for at in (1, 3, 5))
    return (pixels == colour).all(axis=2).any(axis=0)


def test_a_png_shows_recordings_below_each_other(tmp_path: Path) -> None:
    for count in (1, 2):
        write_timelines(tmp_path / f"{count}.png", [timeline()] * count)
    sizes = [Image.open(tmp_path / f"{count}.png").size for count in (1, 2)]
    assert sizes[0][0] == sizes[1][0] == 2_000
    assert sizes[1][1] == 2 * sizes[0][1]
    columns = np.flatnonzero(shaded(tmp_path / "1.png"))
    left, width = 0.075 * 2_000, 0.905 * 2_000
    assert columns[[0, -1]] == pytest.approx([left + row / 99 * width for row in (40, 59)], abs=3)


def test_letters_that_the_font_lacks_are_no_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    write_timelines(tmp_path / "a.png", [timeline(title="\u6e29\u5ea6")])
    assert not recwarn.list


def test_an_svg_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        write_timelines(tmp_path / name, [timeline()])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
