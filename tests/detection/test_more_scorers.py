"""Scorers of single channels and of hidden rows, beside what they are made of."""

import numpy as np
import torch

from seqcl.config import load_preset
from seqcl.detection.scorers.each_channel import EachChannel
from seqcl.detection.scorers.hidden_row import HiddenRow
from seqcl.detection.scorers.mean_shift import MeanShift
from seqcl.detection.scorers.pca import Pca
from seqcl.detection.series import Series
from seqcl.registry import Spec
from seqcl.rng import Rng

WINDOW = 16


def rows(count: int, channels: int, seed: int) -> torch.Tensor:
    draws = np.random.default_rng(seed).normal(size=(count, channels))
    return torch.from_numpy((draws * 0.3).astype(np.float32))


def test_each_channel_takes_the_mean_of_the_highest_scores_of_a_shared_scorer() -> None:
    parts, values = [rows(300, 4, 0), rows(200, 4, 1)], rows(150, 4, 2)
    alone = MeanShift(1, WINDOW)
    alone.fit([part[:, [c]] for part in parts for c in range(4)], Rng(0))
    apart = torch.stack([alone.trailing(values[:, [c]]) for c in range(4)]).sort(0).values
    for top in (1, 3):
        scorer = EachChannel(4, WINDOW, scorer=Spec("scorers", "mean_shift"), top=top)
        scorer.fit(parts, Rng(0))
        torch.testing.assert_close(scorer.trailing(values), apart[4 - top :].mean(0))


def test_principal_components_leave_what_normal_windows_do_not_have() -> None:
    time = np.arange(600)
    wave = np.stack([np.sin(time / 3), np.cos(time / 3), 0 * time], 1)
    values = torch.from_numpy(
        (wave + 0.05 * np.random.default_rng(0).normal(size=(600, 3))).astype("f")
    )
    scorer = Pca(3, WINDOW)
    scorer.fit([values[:300], values[300:400]], Rng(0))
    assert scorer.state["axes"].shape[1] == 2  # the phases of one rhythm
    windows = values[:300].unfold(0, WINDOW, 1).flatten(1)
    kept = scorer.state["axes"] @ scorer.state["axes"].T
    away = [row - scorer.state["centre"] for row in windows]
    left = torch.stack([(row - kept @ row).square().mean().sqrt() for row in away])
    torch.testing.assert_close(scorer.trailing(values[:300])[:, 0], left + 1e-3)
    broken = values[400:].clone()
    broken[100:116, 2] += 1.0
    found = scorer.trailing(broken)[:, 0]
    assert found[100] > 3 * found[:80].max()


def test_a_row_that_does_not_follow_from_its_window_is_high_once_trained() -> None:
    time = torch.arange(600.0)
    wave = torch.stack([(time / 3).sin(), (time / 3).cos()], 1)
    scorer = HiddenRow(2, WINDOW)
    scorer.fit([wave[:400]], Rng(0))
    values = wave[400:].clone()
    values[100] = -2 * values[100]
    found = scorer.trailing(values)[:, 0]
    assert found.argmax() + WINDOW - 1 == 100


def test_a_detector_of_them_comes_back_as_it_was() -> None:
    scorers = "[{each_channel: {scorer: mean_shift, top: 2}}, {hidden_row: {steps: 3, width: 8}}]"
    preset = load_preset("sensor-anomaly", [f"detector.scorers={scorers}", "detector.window=16"])
    assert preset.detector is not None
    detector, again = preset.detector.build(), preset.detector.build()
    detector.fit([Series(rows(400, 3, 0).numpy())])
    again.restore(detector.tensors())
    values = rows(200, 3, 1).numpy()
    assert detector.names == ("shift of channels", "hidden")
    assert np.array_equal(detector.score(values).parts, again.score(values).parts, equal_nan=True)
