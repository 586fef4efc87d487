"""Random kernels against plain loops, and what `prepare` takes from data."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from plain_kernels import respond, series

from seqcl.batch import Batch
from seqcl.encoders.kernel_pool import KERNELS
from seqcl.encoders.rocket import Rocket
from seqcl.rng import Rng


def prepared(channels=1, sample=None, seed=0, **options):
    rocket = Rocket(channels, **options)
    rocket.prepare(series(channels=channels) if sample is None else sample, Rng(seed))
    return rocket


def unscaled(rocket, pooled):
    scale = rocket.pool.scale
    return torch.where(scale > 0, pooled / scale.clamp(min=1e-30) + rocket.pool.centre, torch.nan)


@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("slot", [0, 2, 3, 5])
def test_features_are_those_of_plain_loops(channels, slot):
    statistics = ("max", "mean", "positive_mean", "positive_place")
    rocket = prepared(channels, dilations=3, biases=2, statistics=statistics)
    batch = series(2, channels, seed=1)
    raw = unscaled(rocket, rocket(batch).pooled).view(2, 6, -1)[1, slot].numpy()
    x = batch.values[1].double().numpy()
    x = x if slot < 3 else np.diff(x, axis=1, prepend=x[:, :1])
    for kernel in (0, 41, 83):
        chosen = np.flatnonzero(rocket.channels[slot, kernel].numpy())
        weights = np.full(9, -1.0)
        weights[list(list(combinations(range(9), 3))[kernel])] = 2.0
        r = respond(x, weights, int(rocket.dilations[slot % 3]), chosen)
        above = [np.mean(r > level) for level in rocket.pool.levels[slot, kernel].tolist()]
        positive = r > 0
        expected = [
            *np.arcsin(np.sqrt(above)), r.max(), r.mean(), r[positive].mean(),
            np.mean(np.linspace(0, 1, 60)[positive]),
        ]  # fmt: skip
        places = [2 * kernel, 2 * kernel + 1, *(KERNELS * (2 + s) + kernel for s in range(4))]
        found = raw[places]
        known = ~np.isnan(found)
        assert known.sum() >= 4
        np.testing.assert_allclose(found[known], np.array(expected)[known], atol=2e-5)


def test_kernels_sum_to_zero_so_that_a_level_adds_nothing():
    rocket = Rocket(1)
    assert rocket.kernels.shape == (84, 9)
    assert len(rocket.kernels.unique(dim=0)) == 84
    assert not rocket.kernels.sum(1).any()


def test_dilations_reach_an_eighth_of_the_median_record():
    lengths = (20, 81, 81, 400)
    sample = replace(series(4, steps=400), lengths=torch.tensor(lengths), host_lengths=lengths)
    sample = replace(sample, mask=torch.arange(400) < sample.lengths[:, None])
    dilations = prepared(sample=sample, dilations=4).dilations.tolist()
    assert dilations == [1, 2, 4, 10]
    assert prepared(sample=series(steps=5)).dilations.tolist() == [1] * 9


def test_pooled_in_parts_equals_pooled_from_all_responses(monkeypatch):
    rocket, batch = prepared(2), series(7, 2)
    whole = rocket(batch, local=True)
    assert whole.local.shape == (7, 18 * KERNELS, 60)
    monkeypatch.setattr("seqcl.encoders.random_kernels._AT_ONCE", 128 * KERNELS)
    torch.testing.assert_close(rocket(batch).pooled, whole.pooled, rtol=1e-4, atol=1e-6)


def test_counts_of_an_input_have_norm_one_and_maxima_half_of_it():
    sample = series(40)
    rocket = prepared(sample=sample)
    pooled = rocket(sample).pooled.view(40, 2, 9, KERNELS * 9)
    assert pooled.mean(0).abs().max() < 1e-5
    blocks = [slice(KERNELS * first, KERNELS * (first + 1)) for first in (6, 7, 8)]
    for part, norm in ((slice(0, KERNELS * 6), 1.0), *((block, 0.5) for block in blocks)):
        squares = pooled[..., part].square().sum((2, 3)).mean(0)
        torch.testing.assert_close(squares, torch.full((2,), norm**2), rtol=1e-3, atol=1e-4)


def test_segments_are_the_parts_of_a_record_in_order():
    rocket = prepared(dilations=1, biases=1, statistics=(), differences=False, segments=2)
    flat = series(1)
    values = torch.zeros(1, 1, 60)
    values[..., 45] = 5.0  # in the second half alone
    raw = unscaled(rocket, rocket(flat.with_values(values)).pooled).view(2, KERNELS)
    still = unscaled(rocket, rocket(flat.with_values(torch.zeros(1, 1, 60))).pooled).view(
        2, KERNELS
    )
    assert torch.equal(raw[0].nan_to_num(), still[0].nan_to_num())
    assert not torch.equal(raw[1].nan_to_num(), still[1].nan_to_num())


def test_many_channels_are_seen_a_few_at_a_time_and_each_by_some_kernel():
    rocket = prepared(20, series(4, 20))
    seen = rocket.channels.sum(2)
    assert seen.min() == 1
    assert seen.max() <= 9
    assert rocket.channels.any(0).any(0).all()


@pytest.mark.parametrize("channels", [1, 12])
def test_a_constant_record_has_no_count_that_rounding_decides(channels):
    rocket = prepared(channels)
    for level in (0.1, 1 / 3, 7.7):
        for length in (60, 61):
            flat = Batch(torch.full((1, channels, length), level), torch.arange(1))
            inner = rocket(flat, local=True).local[0, : 9 * KERNELS, 30]
            near = (inner.view(9, KERNELS, 1) - rocket.pool.levels[:9]).abs()
            assert (near > 1e-6).all()


def test_a_record_of_one_step_and_a_sample_without_any_real_step_are_borne():
    rocket = prepared(sample=series(3, steps=1))
    assert rocket(series(2, steps=1)).pooled.isfinite().all()
    empty = replace(series(2), mask=torch.zeros(2, 60, dtype=torch.bool))
    assert prepared(sample=empty)(series(2)).pooled.isfinite().all()


def test_untrained_kernels_tell_speeds_apart_that_means_cannot():
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(60) % 2
    phase = 6.28 * torch.rand(60, 1, 1, generator=generator)
    rate = torch.where(label == 0, 0.4, 0.6).view(-1, 1, 1)
    batch = Batch(torch.sin(rate * torch.arange(60) + phase), torch.arange(60))
    pooled = prepared(sample=batch)(batch).pooled
    near = torch.cdist(pooled, pooled).fill_diagonal_(torch.inf).argmin(1)
    assert (label[near] == label).float().mean() > 0.95
    raw = batch.values.mean(2)
    near = torch.cdist(raw, raw).fill_diagonal_(torch.inf).argmin(1)
    assert (label[near] == label).float().mean() < 0.8
