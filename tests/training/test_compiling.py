"""Compiled encoders: the same training, and nothing left of it afterwards."""

import pytest
import torch
from toy_training import CHANNELS, Toy

from seqcl.batch import Batch
from seqcl.encoders.conv1d import Conv1d
from seqcl.training.compiling import compiled_encoders
from seqcl.training.loop import train
from seqcl.training.options import TrainingOptions
from seqcl.views.frontend import IdentityFrontend


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trace but do not translate, which takes a minute; returns the names of what is compiled."""
    names, plain = [], torch.compile

    def trace(function):
        names.append(function.__qualname__)
        return plain(function, backend="eager")

    monkeypatch.setattr(torch, "compile", trace)
    yield names
    torch._dynamo.reset()


def test_within_the_block_encoders_are_compiled_and_give_the_same(traced: list[str]) -> None:
    encoder = Conv1d(2).eval()
    batch = Batch(torch.randn(4, 2, 30), torch.arange(4))
    expected, names = encoder(batch).pooled, set(encoder.state_dict())
    with compiled_encoders(torch.nn.ModuleDict({"main": encoder}), wanted=True):
        assert traced == ["Conv1d.features"]
        assert "features" in vars(encoder)
        torch.testing.assert_close(encoder(batch).pooled, expected)
        assert set(encoder.state_dict()) == names
    assert "features" not in vars(encoder)


def test_unless_wanted_nothing_is_compiled(traced: list[str]) -> None:
    with compiled_encoders(Conv1d(2), wanted=False):
        assert traced == []


def test_a_training_with_compiled_encoders_is_the_same(traced: list[str]) -> None:
    weights = []
    for wanted in (False, True):
        toy = Toy()
        options = TrainingOptions(steps=3, batch_size=8, compile=wanted)
        train(toy.method, toy.views, IdentityFrontend(CHANNELS), toy.loader, options, seed=0)
        weights.append(torch.cat([w.detach().flatten() for w in toy.method.parameters()]))
        assert not any("features" in vars(part) for part in toy.method.modules())
    assert len(traced) >= 1
    torch.testing.assert_close(weights[0], weights[1])
