"""Encoders side by side that learn nothing."""

import pytest
import torch

from seqcl.batch import Batch
from seqcl.encoders.hydra import Hydra
from seqcl.encoders.joined import Joined
from seqcl.encoders.rocket import Rocket
from seqcl.registry import Spec
from seqcl.rng import Rng


def series(rows=6, channels=2, steps=40):
    values = torch.randn(rows, channels, steps, generator=torch.Generator().manual_seed(0))
    return Batch(values.cumsum(2) / 4, torch.arange(rows))


def test_features_are_those_of_each_encoder_prepared_alone():
    batch, joined = series(), Joined(2)
    joined.prepare(batch, Rng(3))
    rocket, hydra = Rocket(2), Hydra(2)
    rocket.prepare(batch, Rng(3).fork(0))
    hydra.prepare(batch, Rng(3).fork(1))
    expected = torch.cat((rocket(batch).pooled, hydra(batch).pooled), 1)
    assert torch.equal(joined(batch).pooled, expected)
    assert joined.parts == (rocket.out_dim + hydra.out_dim,)
    whole = joined(batch, local=True)
    assert whole.local.shape == (6, rocket.local_dim + hydra.local_dim, 40)
    torch.testing.assert_close(joined.pooling(whole.local, None), expected, rtol=1e-4, atol=1e-5)


def test_an_encoder_that_is_trained_is_refused_and_so_is_none():
    with pytest.raises(ValueError, match="Joined: conv1d is trained; give it to beside"):
        Joined(1, of=(Spec("encoders", "rocket"), Spec("encoders", "conv1d")))
    with pytest.raises(ValueError, match="Joined: `of` names no encoder"):
        Joined(1, of=())
