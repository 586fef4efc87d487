from __future__ import annotations

import numpy as np
import pytest
import torch

from seqcl.batch import Batch, Encoded
from seqcl.report import Chart, Line
from seqcl.report.charts import chart_payload, cosine_chart, curve_charts
from seqcl.report.figures import chart_figure
from seqcl.training.diagnostics import Diagnostics
from seqcl.training.probe import Probe


class Unchanging(torch.nn.Module):
    @property
    def members(self) -> tuple[Unchanging, ...]:
        return (self,)

    def encode(self, views: tuple[Batch, ...]) -> list[Encoded]:
        return [Encoded(view.values[:, :, 0], None, None, view) for view in views]


def test_each_number_becomes_a_chart_over_its_own_steps() -> None:
    records = [
        {"step": 0, "epoch": 0.1, "loss": 2.0, "kind": "train", "done": False},
        {"step": 10, "loss": 1.0, "rankme": 31},
        {"seconds": 3.0},
    ]
    charts = curve_charts(records)
    assert [chart.title for chart in charts] == ["loss", "rankme"]
    assert (charts[0].lines[0].x, charts[0].lines[0].y) == ([0.0, 10.0], [2.0, 1.0])
    assert (charts[1].lines[0].x, charts[1].lines[0].y) == ([10.0], [31.0])


def test_values_that_are_not_finite_break_the_line() -> None:
    line = Line(name="loss", x=[0, 1, 2], y=[1.0, float("nan"), float("inf")])
    payload = chart_payload(Chart(title="loss", x_label="step", lines=(line,)))
    assert payload["lines"][0]["y"] == [1.0, None, None]


def test_a_long_line_keeps_its_ends_spikes_and_breaks() -> None:
    y = np.sin(np.arange(100_000) / 5000)
    y[31_337], y[77_777], y[50_001] = 9.0, -9.0, np.nan
    line = Line(name="loss", x=list(range(100_000)), y=y.tolist())
    kept = chart_payload(Chart(title="loss", x_label="step", lines=(line,)))["lines"][0]
    assert len(kept["x"]) <= 400
    assert (kept["x"][0], kept["x"][-1]) == (0, 99_999)
    assert kept["y"][kept["x"].index(31_337)] == 9.0
    assert kept["y"][kept["x"].index(77_777)] == -9.0
    assert kept["y"][kept["x"].index(50_001)] is None


def test_lines_of_unequal_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="line 'a': x, y, low and high differ in length"):
        Line(name="a", x=[1, 2], y=[1.0])
    with pytest.raises(ValueError, match="line 'a'"):
        Line(name="a", x=[1], y=[1.0], low=[0.5])


def test_a_logarithmic_axis_needs_positive_places() -> None:
    with pytest.raises(ValueError, match="chart 'few': x must be above 0"):
        Chart(title="few", x_label="labels", lines=(Line(name="a", x=[0], y=[1]),), log_x=True)


def test_every_measure_of_the_diagnostics_is_explained() -> None:
    method = Unchanging()
    views = (Batch(torch.randn(8, 4, 1), torch.arange(8), labels=torch.arange(8) % 2),) * 2
    watching = Diagnostics(views, Probe(views[0]))
    measured = watching.measure(method)  # type: ignore[arg-type]
    charts = curve_charts([{"step": 0, **measured}])
    assert len(charts) == len(measured) - 2  # histograms are no curves
    for chart in charts:
        assert "</output><small>" in chart_figure(chart, 0), chart.title


def test_cosines_are_drawn_as_shares_of_the_first_and_the_last_record() -> None:
    empty = [0] * 20
    apart = [*empty, 2, 6, 0, 0, 0]
    records = [
        {"step": 0, "positive_cosines": [*empty, 0, 4, 0, 0, 0], "negative_cosines": apart},
        {"step": 5, "loss": 1.0},
        {"step": 9, "positive_cosines": [*empty, 0, 0, 0, 1, 3], "negative_cosines": apart},
    ]
    chart = cosine_chart(records)
    assert chart is not None
    names = [f"{kind}, step {step}" for kind in ("positives", "negatives") for step in (0, 9)]
    assert [line.name for line in chart.lines] == names
    assert chart.lines[0].x == pytest.approx([0.56, 0.64, 0.72, 0.80, 0.88, 0.96])
    assert [list(line.y) for line in chart.lines] == [
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0.25, 0.75],
        [0, 0.25, 0.75, 0, 0, 0],
        [0, 0.25, 0.75, 0, 0, 0],
    ]


def test_one_measurement_is_drawn_once_and_none_not_at_all() -> None:
    assert cosine_chart([{"step": 1, "loss": 2.0}]) is None
    chart = cosine_chart([{"step": 0, "positive_cosines": [1, 1], "negative_cosines": [2, 0]}])
    assert chart is not None
    assert [line.name for line in chart.lines] == ["positives, step 0", "negatives, step 0"]
