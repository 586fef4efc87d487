"""TNC: neighbours are positive, far windows unlabelled, other records where there are none."""

import math

import pytest
import torch
from series_views import batch, encoder

from seqcl.methods.tnc import TNC, Discriminator


def log_d(score: float) -> float:
    """Return -log of the probability."""
    return math.log1p(math.exp(-score))


def test_three_views_give_the_positive_unlabelled_loss() -> None:
    method = TNC({"main": encoder()}, weight=0.2)
    views = tuple(batch(seed=seed) for seed in range(3))
    anchor, near, far = (one.pooled for one in method.encode(views))
    close = method.discriminator(anchor, near).tolist()
    away = method.discriminator(anchor, far).tolist()
    expected = sum(log_d(s) for s in close) / 5
    expected += sum(0.8 * log_d(-s) + 0.2 * log_d(s) for s in away) / 5
    assert method(views).total.item() == pytest.approx(expected, rel=1e-5)


def test_two_views_take_all_other_records_for_far_windows() -> None:
    method = TNC({"main": encoder()}, weight=0.1)
    views = tuple(batch(seed=seed) for seed in range(2))
    anchor, near = (one.pooled for one in method.encode(views))
    expected = sum(log_d(s) for s in method.discriminator(anchor, near).tolist()) / 5
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    scores = [float(method.discriminator(anchor[i], near[j])) for i, j in pairs]
    expected += sum(0.9 * log_d(-s) + 0.1 * log_d(s) for s in scores) / len(pairs)
    assert method(views).total.item() == pytest.approx(expected, rel=1e-5)


def test_a_discriminator_that_knows_nothing_costs_log_2_twice() -> None:
    method = TNC({"main": encoder()})
    with torch.no_grad():
        method.discriminator.out.weight.zero_()
        method.discriminator.out.bias.zero_()
    for count in (2, 3):
        views = tuple(batch(seed=seed) for seed in range(count))
        assert method(views).total.item() == pytest.approx(2 * math.log(2), rel=1e-6)


def test_the_discriminator_is_one_layer_over_both_embeddings() -> None:
    torch.manual_seed(0)
    found, (a, b) = Discriminator(6, 10), torch.randn(2, 4, 6)
    weight = torch.cat((found.first.weight, found.second.weight), dim=1)
    both = torch.cat((found.norm(a), found.norm(b)), dim=1)
    hidden = (both @ weight.T + found.first.bias).relu()
    torch.testing.assert_close(found(a, b), found.out(hidden).squeeze(1))
