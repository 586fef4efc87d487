"""Competing kernels against plain loops, and what `prepare` takes from data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_kernels import respond, series

from seqcl.batch import Batch
from seqcl.encoders.hydra import Hydra
from seqcl.rng import Rng


def prepared(channels=1, sample=None, seed=0, **options):
    hydra = Hydra(channels, **options)
    hydra.prepare(series(channels=channels) if sample is None else sample, Rng(seed))
    return hydra


@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("kernels", [5, 8])
@pytest.mark.parametrize("length", [60, 37])
def test_features_are_those_of_plain_loops(channels, kernels, length):
    hydra = prepared(channels, dilations=2, groups=3, kernels=kernels)
    batch = series(2, channels, seed=1)
    x = batch.values[1].double().numpy()[:, :length]
    if length < 60:
        mask = torch.ones(2, 60, dtype=torch.bool)
        mask[1, length:] = False
        batch = replace(batch, mask=mask)
    raw = hydra(batch).pooled / hydra.pooling.scale + hydra.pooling.centre
    raw = raw.view(2, 4, 2, 3, kernels)[1].numpy()  # (slot, largest and smallest, group, kernel)
    for slot in range(4):
        inputs = x if slot < 2 else np.diff(x, axis=1, prepend=x[:, :1])
        for group in range(3):
            seen = np.flatnonzero(hydra.channels[slot, group].numpy())
            dilation = int(hydra.dilations[slot % 2])
            r = np.array([
                respond(inputs, hydra.drawn[slot, kernel, group].tolist(), dilation, seen)
                for kernel in range(kernels)
            ])  # fmt: skip
            for way, best in ((0, r), (1, -r)):
                won = (best == best.max(0)) * np.maximum(best, 0)
                expected = np.sqrt(won.sum(1) / length)
                np.testing.assert_allclose(raw[slot, way, group], expected, atol=2e-3)


def test_kernels_have_no_level_and_absolute_sum_one():
    drawn = prepared().drawn
    assert drawn.sum(-1).abs().max() < 1e-6
    torch.testing.assert_close(drawn.abs().sum(-1), torch.ones(drawn.shape[:-1]))
    assert len(drawn.view(-1, 9).unique(dim=0)) == 12 * 32 * 8


def test_kernels_of_a_group_see_the_same_channels_and_groups_others():
    hydra = prepared(20, series(4, 20))
    assert hydra.channels.shape == (12, 32, 20)
    assert hydra.channels.sum(2).min() == 1
    assert hydra.channels.sum(2).max() <= 9
    assert hydra.channels.any(0).any(0).all()


def test_the_sample_has_mean_zero_and_norm_one():
    sample = series(40)
    pooled = prepared(sample=sample)(sample).pooled
    assert pooled.mean(0).abs().max() < 1e-5
    torch.testing.assert_close(pooled.square().sum(1).mean(), torch.tensor(1.0), rtol=1e-3, atol=0)


def test_pooled_in_parts_equals_pooled_from_all_responses(monkeypatch):
    hydra, batch = prepared(2), series(7, 2)
    whole = hydra(batch, local=True)
    assert whole.local.shape == (7, 12 * 256, 60)
    before = whole.local.clone()
    monkeypatch.setattr("seqcl.encoders.random_kernels._AT_ONCE", 1)
    torch.testing.assert_close(hydra(batch).pooled, whole.pooled, rtol=1e-4, atol=1e-5)
    assert torch.equal(whole.local, before)


def test_a_constant_record_is_won_by_no_kernel():
    hydra = prepared()
    for level in (0.1, 1 / 3, 7.7):
        flat = Batch(torch.full((1, 1, 200), level), torch.arange(1))
        inner = replace(flat, mask=torch.ones(1, 200, dtype=torch.bool))
        inner.mask[:, :60] = inner.mask[:, -60:] = False
        responses = hydra.respond(hydra.inputs(flat.values, None), 5)
        assert not hydra.pooling.raw(responses, inner.mask, 5).any()


def test_a_record_of_one_step_and_a_sample_that_is_constant_are_borne():
    hydra = prepared(sample=series(3, steps=1))
    assert hydra(series(2, steps=1)).pooled.isfinite().all()
    still = prepared(sample=Batch(torch.zeros(3, 1, 60), torch.arange(3)))
    assert not still(series(2)).pooled.any()


def test_untrained_kernels_tell_a_rise_from_a_fall_that_means_and_deviations_cannot():
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(60) % 2
    phase = torch.rand(60, 1, 1, generator=generator)
    saw = (torch.arange(60) / 15 + phase) % 1 - 0.5
    batch = Batch(torch.where(label.view(-1, 1, 1) == 0, saw, -saw), torch.arange(60))
    pooled = prepared(sample=batch)(batch).pooled
    near = torch.cdist(pooled, pooled).fill_diagonal_(torch.inf).argmin(1)
    assert (label[near] == label).float().mean() > 0.95
    raw = torch.cat((batch.values.mean(2), batch.values.std(2)), 1)
    near = torch.cdist(raw, raw).fill_diagonal_(torch.inf).argmin(1)
    assert (label[near] == label).float().mean() < 0.8
