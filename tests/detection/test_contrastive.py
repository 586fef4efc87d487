"""The trained encoder of windows: what it sees, what it does not, and what cannot be asked."""

import numpy as np
import pytest
import torch

from seqcl.detection.scorers.contrastive import Contrastive, _farthest_triplet, _spread
from seqcl.rng import Rng

WINDOW = 24


def rhythm(rows: int, seed: int) -> torch.Tensor:
    """Return (rows, 2) of one rhythm with noise, mean 0 and deviation about 1."""
    time = np.arange(rows)
    wave = 1.4 * np.sin(2 * np.pi * time / 12)
    noise = 0.2 * np.random.default_rng(seed).normal(size=(rows, 2))
    return torch.from_numpy((wave[:, None] + noise).astype(np.float32))


def fitted(**options: object) -> Contrastive:
    scorer = Contrastive(2, WINDOW, **{"steps": 60, **options})
    scorer.fit([rhythm(400, 0), rhythm(300, 1)], Rng(0))
    return scorer


def test_another_shape_of_the_same_level_and_spread_is_seen() -> None:
    names = ("injected", "learnt", "nearest", "prototype")
    scorer, values = fitted(scores=names), rhythm(300, 2)
    time = torch.arange(100, 148)
    values[time, 0] = 1.4 * torch.sin(2 * torch.pi * time / 7.0)
    found = scorer.trailing(values)
    broken = found[100 : 148 - WINDOW]
    usual = torch.cat([found[: 100 - WINDOW], found[148:]])
    assert scorer.names == names
    assert (broken.median(0).values > usual.quantile(0.9, 0)).all()


def test_the_shape_knows_no_level_and_no_amplitude_and_the_raw_view_does() -> None:
    values = rhythm(100, 2)
    shape, raw = fitted(steps=5), fitted(steps=5, view="raw")
    moved = 3.0 * values + 2.0
    assert torch.allclose(shape.trailing(moved), shape.trailing(values), rtol=0.1)
    assert not torch.allclose(raw.trailing(moved), raw.trailing(values), rtol=0.1)


def test_triplets_take_the_farthest_positive_and_cost_the_margin_where_all_are_equal() -> None:
    same = torch.ones(4, 3)
    assert _farthest_triplet(same, same) == pytest.approx(0.5)
    apart = torch.eye(3)
    assert _farthest_triplet(apart, apart) == 0
    assert _farthest_triplet(apart, -apart) == pytest.approx(0.5)


def test_the_bank_spreads_out() -> None:
    rows = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0], [0.99, 0.1], [0, 1], [0.1, 0.99], [-1, 0]]), dim=1
    )
    assert torch.equal(_spread(rows, 0.6), rows[[0, 4, 2]])
    assert len(_spread(rows, 0.01)) == 1


def test_a_prototype_is_the_centre_of_a_cluster_and_the_nearest_counts() -> None:
    scorer = fitted(steps=5, scores=("prototype",), prototypes=3)
    features, _ = scorer._features(rhythm(100, 3), 1)
    rows, centres = scorer._projected(features), scorer.state["prototypes"]
    assert centres.shape == (3, rows.shape[1])
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(3))
    slow = torch.stack([min(1 - row @ centre for centre in centres) for row in rows])
    found = scorer._prototype(features, features)
    torch.testing.assert_close(found, slow.clamp(min=0) + 1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"inject": False},
        {"objective": "triplet", "scores": ("nearest",)},
        {"scores": ()},
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="do not go together"):
        Contrastive(2, WINDOW, **options)


def test_it_learns_without_injections_too() -> None:
    for objective in ("info_nce", "triplet"):
        scorer = fitted(objective=objective, inject=False, scores=("learnt", "nearest"))
        found = scorer.trailing(rhythm(100, 3))
        assert found.shape == (100 - WINDOW + 1, 2)
        assert torch.isfinite(found).all()
