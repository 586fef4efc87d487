"""The spectrum of each record over its own length, and the encoder of both domains."""

import pytest
import torch

from seqcl.batch import Batch
from seqcl.encoders.spectrum import spectrum
from seqcl.encoders.time_frequency import TimeFrequency
from seqcl.errors import UsageError
from seqcl.registry import Spec

LENGTHS = (37, 1, 16, 23, 36, 0)


def records(steps: int = 37) -> Batch:
    values = torch.randn(6, 2, steps, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(steps) < torch.tensor(LENGTHS).unsqueeze(1)
    return Batch(values.masked_fill(~mask[:, None], float("nan")), torch.arange(6), mask=mask)


@pytest.mark.parametrize("steps", [37, 38, 500])
def test_each_record_has_the_bins_of_its_own_length(steps: int) -> None:
    batch = records(steps)
    found = spectrum(batch)
    assert found.mask is not None
    assert found.values.shape == (6, 2, steps // 2 + 1)
    for row, length in enumerate(LENGTHS):
        bins = length // 2 + 1 if length else 0
        assert found.mask[row].tolist() == [m < bins for m in range(steps // 2 + 1)]
        if length:
            alone = batch.values[row, :, :length].double()
            expected = torch.fft.rfft(alone).abs() / length**0.5
            torch.testing.assert_close(
                found.values[row, :, :bins].double(), expected, rtol=1e-4, atol=2e-6
            )
        assert not found.values[row, :, bins:].any()


def test_long_records_keep_their_digits() -> None:
    values = torch.randn(2, 1, 20_000, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 20_000, dtype=torch.bool)
    mask[1, 19_001:] = False
    found = spectrum(Batch(values, torch.arange(2), mask=mask)).values[1, 0, :9501].double()
    expected = torch.fft.rfft(values[1, 0, :19_001].double()).abs() / 19_001**0.5
    assert (found - expected).abs().max() < 1e-4  # amplitudes are about 1


def test_white_noise_has_one_in_every_bin_and_a_gap_counts_as_zero() -> None:
    noise = torch.randn(400, 1, 64, generator=torch.Generator().manual_seed(0))
    power = spectrum(Batch(noise, torch.arange(400))).values.square().mean((0, 1))
    assert (power - 1).abs().max() < 0.3  # the deviation of 400 draws is 0.05
    mask = torch.ones(400, 64, dtype=torch.bool)
    mask[:, 20:30] = False
    held = noise.masked_fill(~mask[:, None], 0.0)
    gaps = spectrum(Batch(noise, torch.arange(400), mask=mask)).values
    torch.testing.assert_close(
        gaps, spectrum(Batch(held, torch.arange(400))).values, rtol=1e-4, atol=1e-5
    )


def test_pooled_is_both_children_and_local_is_the_series() -> None:
    torch.manual_seed(0)
    small = {"widths": (8,), "pooling": Spec("poolings", "max")}
    encoder = TimeFrequency(2, frequency=Spec("encoders", "conv1d", small)).eval()
    batch = Batch(torch.randn(3, 2, 40), torch.arange(3))
    encoded = encoder(batch, local=True)
    series = encoder.time(batch, local=True)
    assert torch.equal(
        encoded.pooled, torch.cat((series.pooled, encoder.frequency(spectrum(batch)).pooled), 1)
    )
    assert torch.equal(encoded.local, series.local)
    assert encoder.out_dim == series.pooled.shape[1] + 8


def test_a_step_has_no_embedding() -> None:
    encoder = TimeFrequency(1)
    with pytest.raises(UsageError, match="time_frequency embeds whole records"):
        encoder.pooling(torch.zeros(2, encoder.local_dim, 5), None)
