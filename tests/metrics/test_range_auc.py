"""VUS and affiliation, against their definitions written out step by step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from seqcl.metrics.affiliation import affiliation
from seqcl.metrics.range_auc import segments_of, volumes


def _series(seed: int, at_the_ends: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.zeros(160, bool)
    for start in rng.integers(0, 150, 4).tolist():
        labels[start : start + int(rng.integers(1, 12))] = True
    if at_the_ends:
        labels[:3] = labels[-2:] = True
    return labels, np.round(rng.normal(size=160) + labels, 1 if seed % 2 else 9)


def _slow_areas(
    labels: np.ndarray, scores: np.ndarray, width: int, count: int
) -> tuple[float, float]:
    """Return the areas for one width, one threshold and one step after another."""
    runs, steps = segments_of(labels), len(labels)
    weight = labels.astype(float)
    for first, last in runs:
        for step in range(steps):
            away = max(first - step, step - last)
            if 0 < away <= width // 2:
                weight[step] += np.sqrt(1 - away / width)
    weight = np.minimum(weight, 1)
    zones: list[list[int]] = []
    for first, last in runs:
        if zones and zones[-1][1] >= first - width // 2:
            zones[-1][1] = last + width // 2
        else:
            zones.append([max(0, first - width // 2), last + width // 2])
    falling = sorted(scores, reverse=True)
    curve, precision = [(0.0, 0.0)], []
    for place in np.linspace(0, steps - 1, count).astype(int):
        raised = scores >= falling[place]
        hits = sum(weight[raised])
        positives = (labels.sum() + sum(weight[labels | raised])) / 2
        seen = np.mean([raised[a : b + 1].any() for a, b in zones])
        curve.append((min(hits / positives, 1) * seen, (raised.sum() - hits) / (steps - positives)))
        precision.append(hits / raised.sum())
    points = np.array([*curve, (1.0, 1.0)])
    roc = sum((b[1] - a[1]) * (a[0] + b[0]) / 2 for a, b in itertools.pairwise(points))
    pr = sum(np.diff(points[:-1, 0]) * precision)
    return roc, pr


@pytest.mark.parametrize("window", [0, 1, 7, 24])
@pytest.mark.parametrize("at_the_ends", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_volumes_equal_the_definition(seed: int, at_the_ends: bool, window: int) -> None:
    labels, scores = _series(seed, at_the_ends)
    slow = np.mean([_slow_areas(labels, scores, w, 40) for w in range(window + 1)], axis=0)
    fast = volumes(labels, scores, window, thresholds=40)
    np.testing.assert_allclose((fast.roc, fast.pr), slow, rtol=0, atol=1e-12)


def test_volumes_of_a_perfect_and_a_constant_score() -> None:
    labels = np.zeros(200, bool)
    labels[50:60] = True
    perfect = volumes(labels, labels.astype(float), 0)
    assert perfect.pr == pytest.approx(1, abs=1e-9)
    flat = volumes(labels, np.zeros(200), 0)
    assert flat.pr == pytest.approx(0.05)  # the share of anomalous steps


@pytest.mark.parametrize(
    ("labels", "scores", "said"),
    [
        (np.zeros(5), np.zeros(5), "nothing to find"),
        (np.ones(5), np.full(5, np.nan), "finite"),
        (np.ones(5), np.zeros(4), r"\(5,\) and scores \(4,\)"),
    ],
)
def test_volumes_say_what_is_wrong(labels: np.ndarray, scores: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        volumes(labels, scores, 3)


def _slow_affiliation(labels: np.ndarray, alarms: np.ndarray, fine: int) -> tuple[float, float]:
    """Return precision and recall by sampling every step `fine` times."""
    runs = [(a, b + 1) for a, b in segments_of(labels)]
    cuts = [
        0.0,
        *((a[1] + b[0]) / 2 for a, b in itertools.pairwise(runs)),
        len(labels),
    ]
    time = (np.arange(len(labels) * fine) + 0.5) / fine
    raised = np.repeat(alarms, fine)
    precisions, recalls = [], []
    for (first, last), start, stop in zip(runs, cuts[:-1], cuts[1:], strict=True):
        own = (time > start) & (time < stop)
        zone, hit = time[own], time[own & raised]
        away = np.maximum(np.maximum(first - zone, zone - last), 0)
        if len(hit):
            gaps = np.maximum(np.maximum(first - hit, hit - last), 0)
            precisions.append(np.mean([np.mean(away > g) if g > 0 else 1.0 for g in gaps]))
        inside = zone[(zone > first) & (zone < last)]
        recalls.append(
            np.mean([np.mean(abs(zone - x) > abs(hit - x).min()) for x in inside])
            if len(hit)
            else 0.0
        )
    return float(np.mean(precisions)), float(np.mean(recalls))


@pytest.mark.parametrize("seed", range(4))
def test_affiliation_equals_the_definition(seed: int) -> None:
    labels, scores = _series(seed, at_the_ends=seed == 3)
    alarms = scores > 1.2
    precision, recall, f1 = affiliation(labels, alarms)
    slow = _slow_affiliation(labels, alarms, fine=20)
    np.testing.assert_allclose((precision, recall), slow, atol=4e-3)  # of sampling
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_affiliation_without_alarms_and_without_anomalies() -> None:
    labels = np.array([0, 0, 1, 0, 0])
    precision, recall, f1 = affiliation(labels, np.zeros(5))
    assert np.isnan(precision)
    assert (recall, f1) == (0, 0)
    assert affiliation(labels, labels) == (1, 1, 1)
    with pytest.raises(ValueError, match="nothing to find"):
        affiliation(np.zeros(5), labels)
