"""Augmentations of waveforms against plain references."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from seqcl.batch import Batch
from seqcl.errors import DataError, MissingInputError
from seqcl.modalities.audio.bank import coloured_bank, response_bank, stretches
from seqcl.modalities.audio.equaliser import Equaliser
from seqcl.modalities.audio.level import Clipping, Gain, Polarity, Quantisation
from seqcl.modalities.audio.noise import Noise
from seqcl.modalities.audio.room import Reverb
from seqcl.modalities.audio.spectral import fast_length
from seqcl.rng import Rng

RATE = 16_000


def waves(rows: int = 4, steps: int = 4_000, rate: float | None = RATE) -> Batch:
    generator = torch.Generator().manual_seed(0)
    values = 0.1 * torch.randn(rows, 1, steps, generator=generator)
    return Batch(values, torch.arange(rows), rate_hz=rate)


def short(batch: Batch, length: int) -> Batch:
    mask = (torch.arange(batch.values.shape[-1]) < length).expand(len(batch), -1)
    return replace(batch, mask=mask, values=batch.values * mask[:, None])


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number, steps in enumerate((3_000, 5_000)):
        values = rng.normal(0, 0.05 * (1 + number), steps)
        soundfile.write(tmp_path / f"{number}.flac", values, RATE)
    return tmp_path


@pytest.mark.parametrize("length", [4_000, 1_000])
def test_noise_has_the_ratio_that_was_drawn_over_real_steps(length):
    batch = short(waves(), length)
    noise = Noise(snr_db=(3.0, 9.0))
    params = noise.sample(batch, Rng(0))
    added = (noise.apply(batch, params).values - batch.values)[..., :length]
    ratio = batch.values[..., :length].square().mean((1, 2)) / added.square().mean((1, 2))
    assert torch.allclose(10 * ratio.log10(), params["snr_db"].flatten(), atol=0.01)


@pytest.mark.parametrize("change", [Noise(), Reverb(), Equaliser(), Gain(), Polarity(), Clipping()])
def test_all_channels_of_a_record_are_changed_alike(change):
    one = waves()
    two = one.with_values(one.values.expand(-1, 2, -1).clone())
    params = change.sample(two, Rng(0))
    changed = change.apply(two, params).values
    torch.testing.assert_close(changed[:, 0], changed[:, 1])
    torch.testing.assert_close(changed[:, :1], change.apply(one, params).values)


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_coloured_noise_falls_as_its_exponent_says(colour):
    noise = coloured_bank(colour, colour, torch.device("cpu"))
    spectrum = torch.fft.rfft(noise[: 1 << 18]).abs().square()
    octaves = [spectrum[2**k : 2 ** (k + 1)].mean().log2().item() for k in range(8, 17)]
    assert np.polyfit(range(9), octaves, 1)[0] == pytest.approx(-colour, abs=0.05)


def test_a_stretch_is_a_part_of_the_bank_from_any_place_on():
    parts = stretches(torch.arange(100.0), torch.tensor([0.0, 0.9999]), 4)
    assert parts.tolist() == [[0, 1, 2, 3], [96, 97, 98, 99]]
    ring = torch.arange(10.0)
    parts = stretches(ring, torch.tensor([0.0, 0.81]), 4)
    assert parts.tolist() == [[0, 1, 2, 3], [8, 9, 0, 1]]
    assert stretches(ring, torch.tensor([0.95]), 23)[0].tolist() == [
        (9 + k) % 10 for k in range(23)
    ]


def test_noise_of_a_folder_is_what_its_files_hold(folder):
    noise, batch = Noise(bank=str(folder), snr_db=(0.0, 0.0)), waves()
    params = noise.sample(batch, Rng(1))
    added = noise.apply(batch, params).values - batch.values
    files = [soundfile.read(path, dtype="float32")[0] for path in noise.files()]
    ring = np.concatenate([values / values.std() for values in files])
    for row, place in enumerate(params["place"].tolist()):
        expected = np.take(ring, int(place * len(ring)) + np.arange(4_000), mode="wrap")
        assert np.corrcoef(added[row, 0].numpy(), expected)[0, 1] > 0.9999
    with pytest.raises(MissingInputError, match="no such file or folder"):
        Noise(bank=str(folder / "none"))(batch, Rng(0))
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="no audio file in there"):
        Noise(bank=str(folder / "empty")).files()


def test_a_room_is_its_response_and_nothing_comes_before_the_sound():
    batch, room = waves(2, 3_000), Reverb(decay_s=(0.1, 0.1), direct_db=(0.0, 0.0))
    click = torch.zeros(2, 1, 3_000)
    click[..., 500] = 1.0
    params = room.sample(batch, Rng(0))
    response = room.apply(batch.with_values(click), params).values[:, 0]
    assert response[:, :500].abs().max() < 1e-5
    tail = response[:, 501:].square().sum(1) / response[:, 500].square()
    assert torch.allclose(tail, torch.ones(2), atol=1e-3)  # as much energy as the direct sound
    early, late = (response[:, at : at + 320].square().sum(1) for at in (501, 1_301))
    assert ((early / late).log10() * 10 - 30).abs().max() < 3  # 60 dB in 0.1 s, so 30 in 50 ms
    wet = room.apply(batch, params).values[:, 0].double().numpy()
    for row in range(2):
        kernel = response[row, 500:].double().numpy()
        expected = np.convolve(batch.values[row, 0].double().numpy(), kernel)[:3_000]
        expected *= np.sqrt(batch.values[row].square().sum().item() / np.square(expected).sum())
        np.testing.assert_allclose(wet[row], expected, atol=1e-4)


def test_a_measured_response_begins_at_its_peak(tmp_path):
    response = np.zeros(400, np.float32)
    response[[100, 150]] = 0.8, 0.4
    soundfile.write(tmp_path / "room.wav", response, RATE, subtype="FLOAT")
    room, batch = Reverb(bank=str(tmp_path)), waves(2, 1_000)
    wet = room(batch, Rng(0)).values
    expected = batch.values.clone()
    expected[..., 50:] += 0.5 * batch.values[..., :-50]
    scale = batch.values.square().sum(2, keepdim=True) / expected.square().sum(2, keepdim=True)
    assert torch.allclose(wet, expected * scale.sqrt(), atol=1e-5)


def test_a_record_hears_the_same_room_in_a_large_batch_and_in_a_small_one(tmp_path):
    for number, steps in enumerate((300, 700, 500)):
        response = np.random.default_rng(number).normal(0, 0.1, steps)
        soundfile.write(tmp_path / f"{number}.wav", response, RATE, subtype="FLOAT")
    assert response_bank(str(tmp_path), RATE, torch.device("cpu")).shape[1] <= 700
    room, batch = Reverb(bank=str(tmp_path)), waves(6, 1_000)
    params = room.sample(batch, Rng(0))
    together = room.apply(batch, params).values
    assert len(params["place"].mul(3).long().unique()) > 1
    for row in range(6):
        alone = batch.with_values(batch.values[row : row + 1])
        alone = replace(alone, ids=batch.ids[row : row + 1])
        own = {**params, "place": params["place"][row : row + 1]}
        torch.testing.assert_close(room.apply(alone, own).values[0], together[row])


def test_an_equaliser_weighs_each_frequency_by_its_curve():
    steps = 8_000
    time = torch.arange(steps) / RATE
    tones = [250.0, 1_000.0, 4_000.0]
    values = torch.stack([(2 * torch.pi * hz * time).sin() for hz in tones])[:, None]
    batch = Batch(values, torch.arange(3), rate_hz=RATE)
    flat = Equaliser(sigma_db=6.0, low=(0.0, 0.0), high=(1.0, 1.0))
    params = flat.sample(batch, Rng(0))
    out = flat.apply(batch, params).values
    for row, hz in enumerate(tones):
        octave = np.log2(hz / 8_000) + 6
        gains = 10 ** (params["gain_db"][row].numpy() / 20)
        expected = np.interp(octave, range(7), gains) / np.sqrt(1 + (hz / 8_000) ** 8)
        made = out[row, 0, 2_000:6_000].std() / values[row, 0, 2_000:6_000].std()
        assert made.item() == pytest.approx(expected, rel=0.01)
    cut = Equaliser(sigma_db=0.0, low=(0.1, 0.1), high=(0.4, 0.4))
    low, middle, high = cut(batch, Rng(0)).values[:, 0, 2_000:6_000].std(1) / 0.7071
    assert low < 0.05 < 0.8 < middle
    assert high < 0.5
    with pytest.raises(ValueError, match="low reaches 0.5 and high begins at 0.4"):
        Equaliser(low=(0.1, 0.5), high=(0.4, 1.0))


def test_level_augmentations_are_what_they_say():
    batch = waves()
    params = Gain().sample(batch, Rng(0))
    louder = Gain().apply(batch, params).values / batch.values
    assert torch.allclose(20 * louder.log10(), params["gain_db"].expand_as(louder), atol=1e-3)
    assert torch.equal(Polarity(p=1.0)(batch, Rng(0)).values, -batch.values)
    clipping = Clipping(level=(0.5, 0.5))
    peak = batch.values.abs().amax(2, keepdim=True)
    expected = torch.clamp(batch.values, -peak / 2, peak / 2)
    assert torch.allclose(clipping(batch, Rng(0)).values, expected)


def test_few_bits_leave_few_levels_and_many_bits_little_error():
    batch = waves()
    coarse = Quantisation(bits=(4.0, 4.0))(batch, Rng(0)).values
    assert all(len(row.unique()) <= 17 for row in coarse)
    fine = Quantisation(bits=(14.0, 14.0))(batch, Rng(0)).values
    assert (fine - batch.values).abs().max() < 1e-3
    linear = Quantisation(bits=(5.0, 5.0), mu=0.01)(batch, Rng(0)).values
    step = batch.values.abs().amax(2, keepdim=True) / 16
    assert ((linear - batch.values).abs() < 0.51 * step).all()
    assert ((linear / step).round() - linear / step).abs().max() < 0.05


def test_transform_sizes_are_the_smallest_products_of_2_3_and_5_or_a_fast_one_near_by():
    smooth = sorted(2**a * 3**b * 5**c for a in range(15) for b in range(10) for c in range(7))
    for least in (1, 7, 17, 1_000, 1_025, 17_001, 20_479):
        near = [1_024] if least == 1_000 else []
        assert fast_length(least) == min([*near, *(size for size in smooth if size >= least)][:1])
    assert [fast_length(n) for n in (8_000, 16_001, 23_999)] == [8_192, 16_384, 24_576]
