"""A row of augmentations: order, streams, and one interpolation for neighbouring moves."""

from __future__ import annotations

import math

import pytest
import torch

from seqcl.batch import Batch
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views import resample as resampling
from seqcl.views.chain import Chain

MOVES = ("crop", "speed", "time_warp")


def chain(*names: str, **options) -> Chain:
    return Chain([Spec("augmentations", name, options.get(name, {})) for name in names])


def smooth(rows: int = 16, steps: int = 256) -> Batch:
    """Two slow sines per record, so that interpolating twice loses little."""
    time = torch.arange(steps) / steps
    phase = torch.rand(rows, 2, 1, generator=torch.Generator().manual_seed(0))
    return Batch(torch.sin(2 * math.pi * (2 * time + phase)), torch.arange(rows))


def ragged() -> Batch:
    host = (256, 180, 64, 256) * 4
    lengths = torch.tensor(host)
    mask = torch.arange(256) < lengths[:, None]
    batch = smooth()
    values = batch.values * mask[:, None]
    return Batch(values, batch.ids, lengths=lengths, host_lengths=host, mask=mask)


@pytest.fixture
def interpolations(monkeypatch) -> list[int]:
    calls = []
    original = resampling.resample_at

    def counted(*inputs, **keywords):
        calls.append(1)
        return original(*inputs, **keywords)

    monkeypatch.setattr(resampling, "resample_at", counted)
    return calls


@pytest.mark.parametrize("names", [MOVES, ("speed", "flip", "crop"), ("crop",), ("flip", "speed")])
@pytest.mark.parametrize("make", [smooth, ragged])
def test_moves_composed_equal_moves_one_after_another(names, make):
    batch, rng = make(), Rng(0)
    composed = chain(*names)(batch, rng)
    stepwise = batch
    for index, step in enumerate(chain(*names).steps):
        stepwise = step(stepwise, rng.fork(index))
    # Each linear interpolation errs by at most (2 pi f)^2 / 8 steps^2: f = 2 periods in 256
    # steps, up to 1.25 times faster, gives 5e-4 each (and the faster parts of the warp a little
    # more); the turning points of a reflection are corners, where it is one step's slope: 0.06.
    real = stepwise.mask if stepwise.mask is not None else torch.ones(16, 256, dtype=torch.bool)
    error = (composed.values - stepwise.values).abs().amax(1)[real]
    assert error.max() < 0.06
    assert error.median() < 1e-3


@pytest.mark.parametrize("make", [smooth, ragged])
def test_permuted_segments_compose_too(make):
    """Steps on either side of a cut may differ: one interpolates across it, the other cannot."""
    batch, rng = make(), Rng(0)
    names = ("permutation", "crop")
    composed = chain(*names)(batch, rng)
    stepwise = batch
    for index, step in enumerate(chain(*names).steps):
        stepwise = step(stepwise, rng.fork(index))
    differs = ((composed.values - stepwise.values).abs().amax(1) > 1e-2).sum(1)
    assert differs.max() <= 8, "at most two steps at each of four cuts"


def test_neighbouring_moves_interpolate_once(interpolations):
    chain(*MOVES)(smooth(), Rng(0))
    assert len(interpolations) == 1


def test_a_value_augmentation_between_moves_parts_them(interpolations):
    chain("crop", "speed", "jitter", "scale", "time_warp", "flip")(smooth(), Rng(0))
    assert len(interpolations) == 2


def test_composed_moves_blur_less_than_moves_one_by_one():
    noise = Batch(torch.randn(64, 1, 256), torch.arange(64))
    rng = Rng(0)
    composed = chain(*MOVES)(noise, rng).values
    stepwise = noise
    for index, step in enumerate(chain(*MOVES).steps):
        stepwise = step(stepwise, rng.fork(index))
    assert composed.var() > 1.2 * stepwise.values.var()


def test_moves_that_are_rarely_chosen_compose_record_by_record():
    batch, rng = smooth(rows=128), Rng(0)
    options = {name: {"p": 0.5} for name in (*MOVES, "flip")}
    steps = chain(*MOVES, "flip", **options)
    chosen = [s.sample(batch, rng.fork(i))["chosen"] for i, s in enumerate(steps.steps)]
    untouched = ~torch.stack(chosen).any(0)
    out = steps(batch, rng).values
    assert untouched.any()
    assert torch.equal(out[untouched], batch.values[untouched])
    assert not torch.equal(out, batch.values)


def test_an_empty_chain_returns_its_batch():
    batch = smooth()
    assert Chain([])(batch, Rng(0)) is batch


def test_augmentations_run_in_the_order_given():
    batch = smooth()
    fixed = {"scale": {"factor": (2.0, 2.0)}}
    first, second = (chain(*order, **fixed) for order in (("scale", "offset"), ("offset", "scale")))
    rng = Rng(0)
    shift = second.steps[0](batch, rng.fork(0)).values - batch.values
    torch.testing.assert_close(second(batch, rng).values, 2 * (batch.values + shift))
    shift = first.steps[1](batch, rng.fork(1)).values - batch.values
    torch.testing.assert_close(first(batch, rng).values, 2 * batch.values + shift)


def test_a_step_draws_the_same_whatever_stands_before_it():
    batch = smooth()
    one, other = chain("time_mask", "jitter"), chain("channel_mask", "jitter")
    noise = [c.steps[1].sample(batch, Rng(0).fork(1))["noise"] for c in (one, other)]
    assert torch.equal(*noise)
