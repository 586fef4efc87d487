"""Augmentations of spectrograms along their bands, against plain loops."""

from __future__ import annotations

import numpy as np
import torch

from seqcl.batch import Batch
from seqcl.modalities.audio.bands import BandMask, BandMix, BandOffset, BandWarp
from seqcl.rng import Rng

VALUES = torch.randn(5, 16, 9, generator=torch.Generator().manual_seed(0))
BATCH = Batch(VALUES, torch.arange(5))


def test_a_whole_shift_moves_bands_and_repeats_the_end():
    out = BandWarp(scale=(1.0, 1.0), shift=(2.0, 2.0))(BATCH, Rng(0)).values
    assert torch.allclose(out[:, 2:], VALUES[:, :-2], atol=1e-5)
    assert torch.allclose(out[:, :2], VALUES[:, :1].expand(-1, 2, -1), atol=1e-5)


def test_a_warp_interpolates_between_two_bands():
    warp = BandWarp(scale=(0.5, 2.0), shift=(-3.0, 3.0))
    params = warp.sample(BATCH, Rng(3))
    out = warp.apply(BATCH, params).values
    for row in range(5):
        scale, shift, centre = (float(params[key][row]) for key in ("scale", "shift", "centre"))
        middle = centre * 15
        places = (middle + (np.arange(16) - shift - middle) / scale).clip(0, 15)
        for step in range(9):
            expected = np.interp(places, np.arange(16), VALUES[row, :, step].numpy())
            np.testing.assert_allclose(out[row, :, step], expected, atol=1e-4)


def test_a_mask_hides_neighbouring_bands_at_all_times():
    out = BandMask(fraction=0.25, spans=1)(BATCH, Rng(0)).values
    for row in out:
        hidden = (row == 0).all(1).nonzero().flatten()
        assert 3 <= len(hidden) <= 5
        assert hidden[-1] - hidden[0] == len(hidden) - 1
        assert torch.equal((row == 0).any(1), (row == 0).all(1))


def test_an_offset_is_one_smooth_curve_for_all_frames():
    offset = BandOffset(sigma=1.0, knots=4)
    params = offset.sample(BATCH, Rng(0))
    curve = offset.apply(BATCH, params).values - VALUES
    assert curve.std(2).max() < 1e-5
    assert torch.allclose(curve[:, [0, 5, 10, 15], 0], params["offset"], atol=1e-5)


def test_a_mixture_adds_energies_in_pairs():
    mix = BandMix(part=(0.1, 0.4))
    params = mix.sample(BATCH, Rng(0))
    out = mix.apply(BATCH, params).values
    for row, other in ((0, 1), (1, 0), (2, 3), (3, 2)):
        part = float(params["part"][row])
        energy = (1 - part) * VALUES[row].double().exp() + part * VALUES[other].double().exp()
        assert torch.allclose(out[row].double(), energy.log(), atol=1e-5)
    assert torch.equal(out[4], VALUES[4])


def test_what_only_the_other_record_has_is_not_heard():
    mask = torch.ones(5, 9, dtype=torch.bool)
    mask[1, 4:] = False
    batch = Batch(VALUES * mask[:, None], torch.arange(5), mask=mask)
    mix = BandMix(part=(0.3, 0.3))
    out = mix(batch, Rng(0)).values
    quieter = VALUES[0, :, 4:] + np.log(0.7)
    assert torch.allclose(out[0, :, 4:], quieter, atol=1e-5)
    assert not out[1, :, 4:].any()
