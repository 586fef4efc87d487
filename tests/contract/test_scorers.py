"""What every registered scorer must do."""

from functools import cache

import numpy as np
import pytest
import torch

from seqcl.detection.scorers.base import Scorer, offline, online
from seqcl.registry import registry
from seqcl.rng import Rng

NAMES = sorted(registry("scorers"))
WINDOW = 16


def rows(count: int, seed: int, channels: int = 3) -> torch.Tensor:
    draws = np.random.default_rng(seed).normal(size=(count, channels))
    wave = np.sin(np.arange(count) / 3)[:, None]
    return torch.from_numpy((draws * 0.3 + wave).astype(np.float32))


def fit(name: str) -> Scorer:
    scorer: Scorer = registry("scorers")[name](3, WINDOW)
    scorer.fit([rows(300, 0)], Rng(0))
    return scorer


fitted = cache(fit)


@pytest.mark.parametrize("name", NAMES)
def test_trailing_scores_are_one_a_row_from_the_reach_on(name: str) -> None:
    scorer = fitted(name)
    found = scorer.trailing(rows(200, 1))
    assert found.shape == (200 - scorer.reach + 1, len(scorer.names))
    assert torch.isfinite(found).all()
    assert (found >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_trailing_score_depends_on_the_rows_of_its_reach_alone(name: str) -> None:
    scorer, values = fitted(name), rows(200, 1)
    whole = scorer.trailing(values)
    part = scorer.trailing(values[50 : 50 + scorer.reach])
    assert torch.allclose(part[0], whole[50], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_hop_leaves_scores_out_and_changes_none(name: str) -> None:
    scorer, values = fitted(name), rows(250, 1)
    assert torch.allclose(
        scorer.trailing(values, scorer.hop),
        scorer.trailing(values)[:: scorer.hop],
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_wild_stretch_scores_higher_than_normal_rows(name: str) -> None:
    scorer, values = fitted(name), rows(260, 2)
    values[180:184, 1] += 12.0
    found = offline(scorer, values)
    assert found.shape == (260, len(scorer.names))
    normal = found[:120]
    usual = normal.median(0).values
    assert (found[178:188].amax(0) - usual > 1.5 * (normal.amax(0) - usual)).all()


@pytest.mark.parametrize("name", NAMES)
def test_online_scores_are_unknown_before_the_reach(name: str) -> None:
    scorer = fitted(name)
    found = online(scorer, rows(200, 1))
    unknown = found.isnan().any(1)
    assert len(found) == 200
    assert unknown.sum() == scorer.reach - 1
    assert online(scorer, rows(2, 1)).shape == (2, len(scorer.names))


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_and_a_restored_state_give_equal_scores(name: str) -> None:
    scorer, again = fit(name), fit(name)
    restored: Scorer = registry("scorers")[name](3, WINDOW)
    restored.restore(scorer.state)
    wanted = scorer.trailing(rows(150, 3))
    assert torch.equal(wanted, again.trailing(rows(150, 3)))
    assert torch.equal(wanted, restored.trailing(rows(150, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_constant_training_data_give_finite_scores(name: str) -> None:
    scorer: Scorer = registry("scorers")[name](3, WINDOW)
    scorer.fit([torch.zeros(200, 3)], Rng(0))
    assert torch.isfinite(scorer.trailing(rows(150, 1))).all()
