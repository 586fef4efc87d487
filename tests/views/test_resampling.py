"""Crop, speed, time warp, flip and permutation against one record at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.resampling import Crop, Flip, Permutation, Speed, TimeWarp

HOST = (30, 21, 8, 2, 1)


def ragged(values: torch.Tensor | None = None) -> Batch:
    lengths = torch.tensor(HOST)
    mask = torch.arange(30) < lengths[:, None]
    values = torch.randn(5, 2, 30, generator=torch.Generator().manual_seed(0))
    values = values * mask[:, None]
    return Batch(values, torch.arange(5), lengths=lengths, host_lengths=HOST, mask=mask)


def read(batch: Batch, row: int, positions: list[float]) -> np.ndarray:
    length = HOST[row]
    record = batch.values[row, :, :length].numpy()
    return np.stack([np.interp(positions, np.arange(length), channel) for channel in record])


def check(augmentation, positions) -> None:
    """Compare with ``positions(length, row of params)``, record by record."""
    batch = ragged()
    params = augmentation.sample(batch, Rng(7))
    out = augmentation.apply(batch, params)
    for row, length in enumerate(HOST):
        own = {k: v[row].double().numpy() for k, v in params.items() if v is not None}
        expected = read(batch, row, positions(length, own))
        # Positions of up to 30 steps in float32, times slopes of up to about 5 per step.
        np.testing.assert_allclose(out.values[row, :, :length], expected, atol=1e-4)
        assert out.mask[row].sum() == length, "no step is lost"
        assert not out.values[row, :, length:].any()


def test_crop_stretches_a_part_of_the_record_over_its_own_length():
    def positions(length, own):
        part = float(own["fraction"][0]) * (length - 1)
        start = float(own["place"][0]) * ((length - 1) - part)
        return [start + (part * t / (length - 1) if length > 1 else 0) for t in range(length)]

    check(Crop(fraction=(0.3, 0.6)), positions)


def test_crop_fraction_is_the_share_of_the_record_that_is_left():
    ramp = torch.arange(101.0).expand(400, 1, 101)
    out = Crop(fraction=(0.5, 0.75))(Batch(ramp, torch.arange(400)), Rng(0)).values
    shown = (out.amax(2) - out.amin(2)) / 100
    # 1e-5: positions up to 100 in float32
    assert 0.5 - 1e-5 <= shown.min() < 0.52
    assert 0.73 < shown.max() <= 0.75 + 1e-5
    assert out.min() < 2
    assert out.max() > 98


def test_speed_runs_at_its_rate_and_reflects_at_the_ends():
    def positions(length, own):
        last, rate = length - 1, float(own["rate"][0])
        found = []
        for t in range(length):
            at = float(own["place"][0]) * (1 - rate) * last + rate * t
            while last and not 0 <= at <= last:
                at = -at if at < 0 else 2 * last - at
            found.append(at if last else 0.0)
        return found

    check(Speed(rate=(0.5, 0.9)), positions)
    check(Speed(rate=(1.2, 1.9)), positions)
    check(Speed(rate=(4.0, 5.0)), positions)


def test_speed_may_hold_the_ends_instead():
    def positions(length, own):
        last, rate = length - 1, float(own["rate"][0])
        start = float(own["place"][0]) * (1 - rate) * last
        return [min(max(start + rate * t, 0.0), last) for t in range(length)]

    for rates in [(0.5, 0.9), (1.2, 1.9), (4.0, 5.0)]:
        check(Speed(rate=rates, ends="hold"), positions)


def test_a_faster_record_has_no_constant_tail():
    ramp = torch.arange(60.0).expand(50, 1, 60)
    out = Speed(rate=(1.5, 1.5))(Batch(ramp, torch.arange(50)), Rng(0)).values
    # Every step moves on by 1.5, but for the one that turns round.
    assert ((out.diff(dim=2).abs() - 1.5).abs() > 1e-3).sum(2).max() <= 2


def test_time_warp_integrates_a_speed_that_is_linear_between_knots():
    def positions(length, own):
        knots = np.linspace(0, 1, len(own["speed"]))
        fine = np.linspace(0, 1, 30 * 2000 + 1)
        speed = np.interp(fine, knots, own["speed"])
        path = np.concatenate(([0], np.cumsum((speed[1:] + speed[:-1]) / 2)))
        path *= (length - 1) / path[-1]
        return [float(np.interp(t / max(1, length - 1), fine, path)) for t in range(length)]

    check(TimeWarp(strength=0.5, knots=4), positions)
    check(TimeWarp(strength=0.3, knots=2), positions)
    check(TimeWarp(strength=0.3, knots=9), positions)


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_time_warp_is_monotone_and_keeps_both_ends(strength):
    ramp = torch.arange(200.0).expand(300, 1, 200)
    out = TimeWarp(strength=strength, knots=6)(Batch(ramp, torch.arange(300)), Rng(0)).values
    # -1e-4: rounding of positions of up to 199 in float32
    assert out.diff(dim=2).min() > -1e-4
    assert not out[:, :, 0].any()
    assert (out[:, :, -1] - 199).abs().max() < 1e-3


def test_time_warp_strength_is_the_spread_of_the_local_speed():
    ramp = torch.arange(200.0).expand(2000, 1, 200)
    out = TimeWarp(strength=0.1, knots=2)(Batch(ramp, torch.arange(2000)), Rng(0)).values
    first, final = out[:, 0, 1] - out[:, 0, 0], out[:, 0, -1] - out[:, 0, -2]
    # log(first / final) is the difference of two normals of 0.1; 5 % is 3 errors of 2,000 draws
    assert (first / final).log().std() == pytest.approx(0.1 * math.sqrt(2), rel=0.05)


def test_flip_reverses_within_the_record():
    check(Flip(p=1.0), lambda length, own: list(range(length - 1, -1, -1)))


def test_flip_twice_is_the_identity():
    batch = ragged()
    twice = Flip(p=1.0)(Flip(p=1.0)(batch, Rng(0)), Rng(1))
    assert torch.equal(twice.values, batch.values)


@pytest.mark.parametrize("segments", [2, 5, 40])
def test_permutation_moves_whole_segments(segments):
    def positions(length, own):
        cuts = [j * length // segments for j in range(segments + 1)]
        order = own["order"].astype(int)
        return [t for s in order for t in range(cuts[s], cuts[s + 1])]

    check(Permutation(segments=segments), positions)


def test_permutation_loses_no_value():
    batch = ragged()
    out = Permutation(segments=5)(batch, Rng(0))
    assert torch.equal(out.values.sort(dim=2).values, batch.values.sort(dim=2).values)
    assert not torch.equal(out.values, batch.values)


@pytest.mark.parametrize("augmentation", [Crop(), Speed(), TimeWarp(), Flip(p=1.0), Permutation()])
def test_more_padding_changes_nothing(augmentation):
    batch = ragged()
    grown = Batch(
        torch.nn.functional.pad(batch.values, (0, 9)),
        batch.ids,
        lengths=batch.lengths,
        host_lengths=batch.host_lengths,
        mask=torch.nn.functional.pad(batch.mask, (0, 9)),
    )
    params = augmentation.sample(batch, Rng(0))
    out, more = augmentation.apply(batch, params), augmentation.apply(grown, params)
    assert torch.equal(more.values[:, :, :30], out.values)
    assert torch.equal(more.mask[:, :30], out.mask)
    assert not more.mask[:, 30:].any()


@pytest.mark.parametrize("augmentation", [Crop(), Speed(), TimeWarp()])
def test_a_gap_moves_with_its_record_and_never_shrinks(augmentation):
    batch = Batch(torch.ones(8, 1, 64), torch.arange(8), mask=torch.arange(64).expand(8, 64) != 31)
    out = augmentation(batch, Rng(0))
    assert (~out.mask).sum(1).min() >= 1
    assert torch.equal(out.values[:, 0], out.mask.float())


def test_reversed_ranges_are_refused_by_name():
    with pytest.raises(ValueError, match=r"Crop: fraction is \(0.9, 0.5\); low must not exceed"):
        Crop(fraction=(0.9, 0.5))
    with pytest.raises(ValueError, match=r"Speed: rate is \(1.2, 0.8\); low must not exceed high"):
        Speed(rate=(1.2, 0.8))


@pytest.mark.parametrize(
    ("component", "option", "value"),
    [
        (Crop, "fraction", (0.0, 1.0)),
        (Crop, "fraction", (0.5, 1.1)),
        (Crop, "fraction", (0.5,)),
        (Crop, "p", 1.5),
        (Speed, "rate", (0.0, 1.0)),
        (TimeWarp, "strength", -0.1),
        (TimeWarp, "strength", float("nan")),
        (TimeWarp, "knots", 1),
        (Permutation, "segments", 1),
        (Permutation, "segments", 2.5),
    ],
)
def test_options_out_of_range_are_refused(refused, component, option, value):
    assert refused(component, option, value)
