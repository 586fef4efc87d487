"""Spectrograms against librosa, and their statistics."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from scipy.fft import dct

from seqcl.batch import Batch
from seqcl.errors import DataError
from seqcl.modalities.audio.frontend import LogMel, Mfcc, Pcen
from seqcl.modalities.audio.spectrogram import filter_spans, mel_filters
from seqcl.rng import Rng

RATE = 16_000
WAVE = np.random.default_rng(0).normal(0, 0.1, 8_100).astype(np.float32)


def batch(*waves: np.ndarray, rate_hz: float | None = RATE) -> Batch:
    values = torch.from_numpy(np.stack(waves))[:, None]
    return Batch(values, torch.arange(len(waves)), rate_hz=rate_hz)


def librosa_mel(wave: np.ndarray = WAVE, **options: float) -> np.ndarray:
    known = {"sr": RATE, "n_fft": 1_024, "hop_length": 160, "n_mels": 64} | options
    return librosa.feature.melspectrogram(y=wave, **known)


@pytest.mark.parametrize(
    ("rate", "size", "bands", "low", "high"),
    [(16_000, 1_024, 64, 0, 8_000), (8_000, 256, 40, 60, 3_900), (44_100, 2_048, 128, 20, 22_050)],
)
def test_filters_are_those_of_librosa(rate, size, bands, low, high):
    expected = librosa.filters.mel(sr=rate, n_fft=size, n_mels=bands, fmin=low, fmax=high)
    made = mel_filters(rate, size, bands, low, high).numpy()
    np.testing.assert_allclose(made, expected, atol=1e-6 * expected.max())


@pytest.mark.parametrize("bands", [1, 16, 40, 300])  # 300 of a transform of 256: many weigh no bin
def test_spans_hold_every_weight_of_a_filter(bands):
    filters = mel_filters(8_000, 256, bands, 0, 4_000)
    kept = torch.zeros_like(filters)
    for some, bins in filter_spans(filters):
        kept[some, bins] = filters[some, bins]
    assert torch.equal(kept, filters)
    covered = [place for some, _ in filter_spans(filters) for place in range(bands)[some]]
    assert covered == list(range(bands))


@pytest.mark.parametrize("options", [{}, {"hop": 320}, {"bands": 40, "low_hz": 60.0}])
def test_log_mel_is_the_logarithm_of_librosas(options):
    names = {"hop": "hop_length", "bands": "n_mels", "low_hz": "fmin"}
    expected = librosa_mel(**{names[key]: value for key, value in options.items()})
    made = LogMel(1, normalise="none", **options)(batch(WAVE)).values[0].numpy()
    assert made.shape[1] == -(-len(WAVE) // options.get("hop", 160))
    np.testing.assert_allclose(made, np.log(expected + 1e-6), atol=1e-4)


def test_mfcc_is_the_cosine_transform_of_log_mel():
    made = Mfcc(1, normalise="none", coefficients=13)(batch(WAVE)).values[0].numpy()
    expected = dct(np.log(librosa_mel() + 1e-6), axis=0, norm="ortho")[:13]
    np.testing.assert_allclose(made, expected, atol=1e-3)  # sums of 64 logarithms
    theirs = librosa.feature.mfcc(S=librosa.power_to_db(librosa_mel(), top_db=None), n_mfcc=13)
    np.testing.assert_allclose(made * 10 / np.log(10), theirs, atol=0.01)


def test_pcen_is_that_of_librosa():
    made = Pcen(1, normalise="none")(batch(WAVE)).values[0].numpy()
    energy = librosa_mel()
    front = Pcen(1)
    start = (1 - front.smoothing) * energy[:, :1]
    theirs = librosa.pcen(energy, sr=RATE, hop_length=160, zi=start)
    np.testing.assert_allclose(made, theirs, rtol=1e-3)


def test_statistics_bring_the_training_data_to_mean_0_and_deviation_1():
    loud = batch(WAVE, 3 * WAVE, 0.1 * WAVE)
    for normalise, axes in (("band", (0, 2)), ("all", (0, 1, 2))):
        front = LogMel(1, normalise=normalise)
        front.prepare(loud, Rng(0))
        values = front(loud).values
        assert values.mean(axes).abs().max() < 1e-4
        assert (values.std(axes, correction=0) - 1).abs().max() < 1e-4
    plain = LogMel(1, normalise="none")
    plain.prepare(loud, Rng(0))
    assert torch.equal(plain.mean, torch.zeros(64, 1))


def test_bands_without_sound_are_not_blown_up_to_its_size():
    pulse = np.hanning(8_000)  # a click at an end would sound in every band
    tones = [np.sin(np.arange(8_000) * 2 * np.pi * hz / RATE) * pulse for hz in (500, 900)]
    waves = np.stack(tones).astype(np.float32)
    front = LogMel(1, low_hz=300.0)
    front.prepare(batch(*waves), Rng(0))
    raw = LogMel(1, low_hz=300.0, normalise="none")(batch(*waves)).values
    usual = raw.std((0, 2), correction=0).mean()
    assert raw[:, -8:].std() < 0.1 * usual
    assert front.std[-8:].flatten().numpy() == pytest.approx(0.5 * usual.item(), rel=1e-3)


def test_a_record_less_its_own_mean_is_blind_to_its_level():
    front = LogMel(1, normalise="record", floor=1e-12)
    front.prepare(batch(WAVE, 3 * WAVE), Rng(0))
    a, b = front(batch(WAVE, 5 * WAVE)).values
    assert (a - b).abs().max() < 1e-3
    assert a.mean(1).abs().max() < 1e-4


def test_frames_carry_places_and_rate():
    values = torch.zeros(2, 1, 1_600)
    given = Batch(values, torch.arange(2), start=torch.tensor([0, 800]), rate_hz=RATE, offset=1_600)
    view = LogMel(1)(given)
    assert view.start.tolist() == [0, 5]
    assert view.offset == 10
    assert view.rate_hz == 100


def test_silence_is_finite_and_pictures_lie_in_zero_to_one():
    front = LogMel(1)
    silent = batch(0 * WAVE, 0 * WAVE)
    front.prepare(silent, Rng(0))
    assert front(silent).values.isfinite().all()
    shown = front.picture(front(batch(WAVE)).values)
    assert shown.shape == (1, 1, 64, 51)
    assert (shown.min(), shown.max()) == (0, 1)


def test_another_rate_and_wrong_bands_are_told():
    with pytest.raises(DataError, match="has 8000 Hz and the front end is for 16000; set data.rat"):
        LogMel(1)(batch(WAVE, rate_hz=8_000.0))
    with pytest.raises(ValueError, match=r"bands from 0 to 9000 Hz; needed: .* up to 8000 Hz"):
        LogMel(1, high_hz=9_000.0)
    with pytest.raises(ValueError, match="65 coefficients of 64 bands"):
        Mfcc(1, coefficients=65)
