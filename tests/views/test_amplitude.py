"""Jitter, scale, offset and magnitude warp: what they do to the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.amplitude import Jitter, MagnitudeWarp, Offset, Scale

HOST = (20, 13, 1)


def dense(rows: int = 500, channels: int = 4, steps: int = 20) -> Batch:
    values = torch.randn(rows, channels, steps, generator=torch.Generator().manual_seed(0))
    return Batch(values, torch.arange(rows))


def ragged() -> Batch:
    lengths = torch.tensor(HOST)
    mask = torch.arange(20) < lengths[:, None]
    values = dense(3).values * mask[:, None]
    return Batch(values, torch.arange(3), lengths=lengths, host_lengths=HOST, mask=mask)


def test_jitter_adds_white_noise_of_the_given_deviation():
    batch = dense()
    noise = Jitter(sigma=0.3)(batch, Rng(0)).values - batch.values
    # 40,000 draws: the error of a deviation is 0.35 %, of a mean 0.0015
    assert noise.std() == pytest.approx(0.3, rel=0.02)
    assert noise.mean().abs() < 0.01
    assert (noise[:, :, 1:] * noise[:, :, :-1]).mean().abs() < 0.01


def test_jitter_is_values_plus_sigma_times_the_drawn_noise():
    batch, jitter = ragged(), Jitter(sigma=0.3)
    params = jitter.sample(batch, Rng(0))
    out = jitter.apply(batch, params)
    for row, length in enumerate(HOST):
        for step in range(20):
            expected = batch.values[row, :, step] + 0.3 * params["noise"][row, :, step]
            expected = expected if step < length else torch.zeros(4)
            torch.testing.assert_close(out.values[row, :, step], expected)


@pytest.mark.parametrize(("per", "factors"), [("channel", 2000), ("record", 500)])
def test_scale_multiplies_by_one_factor_within_the_range(per, factors):
    batch = dense()
    ratio = Scale(factor=(0.5, 2.0), per=per)(batch, Rng(0)).values / batch.values
    assert (ratio.amax(2) - ratio.amin(2)).max() < 1e-5, "constant in time, but for rounding"
    assert 0.5 - 1e-6 <= ratio.min() < 0.51
    assert 1.99 < ratio.max() <= 2.0 + 1e-6
    middle = ratio.median(2).values
    assert len(middle.mul(1e4).round().unique()) > factors // 2
    if per == "record":
        assert (middle - middle[:, :1]).abs().max() < 1e-5


def test_offset_shifts_each_channel_by_a_constant():
    batch = dense()
    shift = Offset(sigma=0.5)(batch, Rng(0)).values - batch.values
    assert shift.std(dim=2).max() < 1e-6
    # 2,000 draws: the error of a deviation is 1.6 %
    assert shift[:, :, 0].std() == pytest.approx(0.5, rel=0.06)


def test_magnitude_warp_follows_its_knots_with_half_cosines():
    batch, warp = ragged(), MagnitudeWarp(sigma=0.4, knots=5)
    params = warp.sample(batch, Rng(0))
    out = warp.apply(batch, params).values.numpy()
    for row, length in enumerate(HOST):
        for channel in range(4):
            knots = params["curve"][row, channel].numpy()
            for step in range(length):
                place = step / max(1, length - 1) * 4
                left = min(3, math.floor(place))
                ease = (1 - math.cos(math.pi * (place - left))) / 2
                factor = knots[left] * (1 - ease) + knots[left + 1] * ease
                expected = batch.values[row, channel, step].item() * factor
                # float32 cosines of arguments up to pi: 1e-7 each, values of up to about 5
                assert out[row, channel, step] == pytest.approx(expected, abs=1e-5)
        assert not out[row, :, length:].any()


def test_magnitude_warp_of_equal_lengths_equals_that_of_given_lengths():
    batch, warp = dense(6), MagnitudeWarp()
    given = Batch(batch.values, batch.ids, lengths=torch.full((6,), 20), host_lengths=(20,) * 6)
    params = warp.sample(batch, Rng(0))
    # One matrix product against a batch of them: the order of five summands
    torch.testing.assert_close(
        warp.apply(batch, params).values, warp.apply(given, params).values, rtol=0, atol=1e-5
    )


def test_magnitude_warp_is_smooth_and_varies_as_asked():
    batch = Batch(torch.ones(2000, 1, 200), torch.arange(2000))
    out = MagnitudeWarp(sigma=0.2, knots=4)(batch, Rng(0)).values
    assert out[:, 0, 0].std() == pytest.approx(0.2, rel=0.06)
    # A half cosine between knots 66 steps apart that differ by at most 8 sigma
    assert out.diff(dim=2).abs().max() < 1.6 * math.pi / 2 / 66
    assert out.mean() == pytest.approx(1.0, abs=0.01)


def test_no_strength_is_the_identity():
    batch = dense(4)
    for augmentation in (Jitter(sigma=0), Offset(sigma=0), Scale(factor=(1, 1))):
        assert torch.equal(augmentation(batch, Rng(0)).values, batch.values)
    warped = MagnitudeWarp(sigma=0)(batch, Rng(0)).values
    np.testing.assert_allclose(warped, batch.values, rtol=1e-6)


def test_a_reversed_range_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Scale: factor is \(2.0, 0.5\); low must not exceed"):
        Scale(factor=(2.0, 0.5))


@pytest.mark.parametrize(
    ("component", "option", "value"),
    [
        (Jitter, "sigma", -1.0),
        (Scale, "factor", (0.0, 1.0)),
        (Scale, "per", "step"),
        (Offset, "sigma", float("inf")),
        (MagnitudeWarp, "knots", 1),
        (MagnitudeWarp, "sigma", "much"),
    ],
)
def test_options_out_of_range_are_refused(refused, component, option, value):
    assert refused(component, option, value)
