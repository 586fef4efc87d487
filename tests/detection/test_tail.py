"""The Pareto tail: against scipy's law, and against what it may never do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto

from seqcl.detection.tail import Tail, fit_pareto

TAILS = [Tail(2.0, np.log(0.02), 0.7, shape, 3.1) for shape in (-0.4, 0.0, 0.3)]


@pytest.mark.parametrize("tail", TAILS)
def test_up_to_the_largest_score_it_is_the_generalised_pareto_law(tail: Tail) -> None:
    scores = np.linspace(2.0, 3.1, 50)
    expected = np.log(0.02) + genpareto(tail.shape, loc=2.0, scale=0.7).logsf(scores)
    np.testing.assert_allclose(tail.log_at(scores), expected, rtol=1e-12)


@pytest.mark.parametrize("tail", TAILS)
def test_the_mass_falls_for_ever_and_is_undone_by_the_score(tail: Tail) -> None:
    scores = np.concatenate([np.linspace(2.0, 10, 100), np.geomspace(11, 1e6, 20)])
    logs = tail.log_at(scores)
    assert np.isfinite(logs).all()
    assert (np.diff(logs) < 0).all()
    found = [tail.score_at(float(log)) for log in logs]
    np.testing.assert_allclose(found, scores, rtol=1e-9)


@pytest.mark.parametrize("shape", [-0.5, 0.0, 0.4])
def test_the_fit_finds_the_law_that_was_drawn_from(shape: float) -> None:
    draws = genpareto(shape, scale=2.0).rvs(5000, random_state=0)
    found_scale, found_shape = fit_pareto(draws)
    # The shape's standard error is (1 + shape) / sqrt(5000), at most 0.02
    assert found_shape == pytest.approx(shape, abs=0.06)
    assert found_scale == pytest.approx(2.0, rel=0.06)


@pytest.mark.parametrize("shape", [-0.2, 0.2])
def test_the_fit_is_as_likely_as_that_of_scipy(shape: float) -> None:
    draws = genpareto(shape).rvs(400, random_state=1)
    best = genpareto(*genpareto.fit(draws, floc=0)).logpdf(draws).sum()
    scale, found = fit_pareto(draws)
    # 2 nats would be the edge of the 86 % region of two parameters
    assert genpareto(found, scale=scale).logpdf(draws).sum() > best - 0.5


@pytest.mark.parametrize("excess", [np.full(20, 3.0), np.arange(1, 12) * 1e-9])
def test_ties_and_tiny_scores_have_a_fit_in_which_all_is_possible(excess) -> None:
    scale, shape = fit_pareto(excess)
    assert scale > 0
    assert scale + shape * excess.max() > 0
