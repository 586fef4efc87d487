"""Time, channel and frequency masks: what they hide, and what they leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.masking import ChannelMask, FrequencyMask, TimeMask

HOST = (50, 31, 10, 1)


def ones(rows: int = 300, channels: int = 4, steps: int = 50) -> Batch:
    return Batch(torch.ones(rows, channels, steps), torch.arange(rows))


def ragged() -> Batch:
    lengths = torch.tensor(HOST)
    mask = torch.arange(50) < lengths[:, None]
    values = torch.randn(4, 2, 50, generator=torch.Generator().manual_seed(0)) * mask[:, None]
    return Batch(values, torch.arange(4), lengths=lengths, host_lengths=HOST, mask=mask)


@pytest.mark.parametrize("spans", [1, 2, 3])
def test_time_mask_hides_spans_of_the_records_own_length(spans):
    batch, hide = ragged(), TimeMask(fraction=0.6, spans=spans)
    params = hide.sample(batch, Rng(0))
    out = hide.apply(batch, params).values
    for row, length in enumerate(HOST):
        width = 0.6 * length / spans
        for step in range(length):
            starts = [u * (length - width) for u in params["place"][row].tolist()]
            hidden = any(start < step + 0.5 < start + width for start in starts)
            expected = torch.zeros(2) if hidden else batch.values[row, :, step]
            assert torch.equal(out[row, :, step], expected)


@pytest.mark.parametrize("steps", [8, 50, 333])
def test_one_span_hides_the_asked_fraction(steps):
    out = TimeMask(fraction=0.3, spans=1)(ones(2000, 1, steps), Rng(0)).values
    # 2,000 records; each is within one step of its share
    assert 1 - out.mean() == pytest.approx(0.3, abs=0.01)
    assert ((1 - out.mean(2)) - 0.3).abs().max() <= 1 / steps + 1e-6


def test_several_spans_hide_no_more_than_the_fraction_and_a_step_each():
    out = TimeMask(fraction=0.4, spans=4)(ones(), Rng(0)).values
    assert (1 - out.mean(2)).max() <= 0.4 + 4 / 50 + 1e-6
    runs = (out[:, 0].diff(dim=1) == -1).sum(1)
    assert runs.max() > 1


def test_time_mask_hides_all_channels_at_once_and_leaves_the_mask():
    batch = ragged()
    out = TimeMask()(batch, Rng(0))
    assert torch.equal(out.mask, batch.mask)
    assert torch.equal(out.values[:, 0] == 0, out.values[:, 1] == 0)


def test_channel_mask_hides_whole_channels_at_its_rate():
    out = ChannelMask(probability=0.3)(ones(2000, 8), Rng(0)).values
    assert torch.equal(out.amin(2), out.amax(2))
    # 16,000 draws; keeping one of eight matters in 0.3 ** 8 of the records
    assert 1 - out.mean() == pytest.approx(0.3, abs=0.015)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_channel_mask_never_hides_every_channel(channels):
    out = ChannelMask(probability=1.0)(ones(500, channels), Rng(0)).values
    kept = out[:, :, 0].sum(1)
    assert kept.min() == 1
    assert kept.max() == 1
    assert out[:, :, 0].sum(0).min() > 0, "which one is kept is random"


def test_frequency_mask_removes_one_band_and_keeps_the_mean():
    batch = ragged()[0:1]
    batch = Batch(batch.values + 3.0, batch.ids)
    mask = FrequencyMask(fraction=0.2)
    params = mask.sample(batch, Rng(0))
    out = mask.apply(batch, params).values.double().numpy()
    before, after = np.fft.rfft(batch.values.double().numpy()), np.fft.rfft(out)
    width = round(0.2 * 25)
    first = 1 + int(params["place"][0, 0].item() * (25 - width + 1))
    expected = before.copy()
    expected[:, :, first : first + width] = 0
    # Sums of 50 float32 values of up to 6
    np.testing.assert_allclose(after, expected, atol=1e-3)


def test_frequency_mask_reaches_every_frequency_but_the_mean():
    impulse = torch.zeros(2000, 1, 32)
    impulse[:, :, 0] = 1
    out = FrequencyMask(fraction=0.25)(Batch(impulse, torch.arange(2000)), Rng(0)).values
    gone = (torch.fft.rfft(out).abs() < 0.5).float().mean((0, 1))
    assert gone[0] == 0
    assert gone[1:].min() > 0.03
    assert gone.sum() == pytest.approx(4, abs=1e-4)


def test_frequency_mask_of_a_short_record_removes_at_least_one_bin():
    batch = Batch(torch.randn(20, 1, 8), torch.arange(20))
    out = FrequencyMask(fraction=0.01)(batch, Rng(0)).values
    assert (out - batch.values).abs().amax(2).min() > 1e-4


@pytest.mark.parametrize(
    ("component", "option", "value"),
    [
        (TimeMask, "fraction", 1.0),
        (TimeMask, "spans", 0),
        (ChannelMask, "probability", 1.1),
        (FrequencyMask, "fraction", 0.0),
    ],
)
def test_options_out_of_range_are_refused(refused, component, option, value):
    assert refused(component, option, value)
