"""Statistics of spectrograms: what they hold, and that padding is not part of it."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from seqcl.data.dataset import dataset_from_arrays, open_dataset
from seqcl.data.options import DataOptions
from seqcl.modalities.audio.baselines import LogMelSegments, LogMelStatistics, MfccStatistics
from seqcl.modalities.base import NotApplicable

RNG = np.random.default_rng(0)
WAVES = [RNG.normal(0, 0.1, (1, steps)).astype(np.float32) for steps in (4_000, 6_400, 5_123)]


@pytest.fixture
def dataset(tmp_path):
    padded = np.full((3, 1, 6_400), np.nan, np.float32)
    for row, wave in zip(padded, WAVES, strict=True):
        row[:, : wave.shape[1]] = wave
    np.savez(tmp_path / "a.npz", X=padded, y=[0, 1, 0], rate_hz=16_000)
    return open_dataset([str(tmp_path / "a.npz")], DataOptions())


def log_mel(wave):
    power = librosa.feature.melspectrogram(
        y=wave[0], sr=16_000, n_fft=1_024, hop_length=160, n_mels=64
    )
    return np.log(power[:, : -(-wave.shape[1] // 160)] + 1e-6)


def standard(rows):
    rows = np.stack(rows)
    return (rows - rows.mean(0)) / rows.std(0)


def test_log_mel_statistics_are_means_and_deviations_of_real_frames(dataset):
    first, second = LogMelStatistics()(dataset, dataset, 0)
    frames = [log_mel(wave) for wave in WAVES]
    expected = standard([np.concatenate([f.mean(1), f.std(1)]) for f in frames])
    assert_allclose(first.values, expected, atol=2e-3)
    assert_allclose(second.values, first.values)
    assert first.labels == (0, 1, 0)


def test_segments_are_means_of_equal_parts():
    frames = log_mel(WAVES[1])
    assert frames.shape == (64, 40)
    expected = np.stack([part.mean(1) for part in np.split(frames, 10, axis=1)], 1)
    made = LogMelSegments().describe(torch.from_numpy(frames)).numpy()
    assert_allclose(made, expected.ravel(), atol=1e-4)
    few = LogMelSegments().describe(torch.from_numpy(frames[:, :3]))
    assert few.shape == (640,)


def test_mfcc_statistics_have_level_and_change(dataset):
    first, _ = MfccStatistics()(dataset, dataset, 0)
    assert first.values.shape == (3, 80)
    assert abs(first.values.mean(0)).max() < 1e-3


def test_what_is_no_audio_is_not_applicable():
    plain = dataset_from_arrays(WAVES)
    with pytest.raises(NotApplicable, match="needs audio, whose sampling rate is known"):
        LogMelStatistics()(plain, plain, 0)


def test_segments_are_blind_to_the_level_of_a_record(tmp_path):
    wave = WAVES[0][0]
    np.savez(tmp_path / "b.npz", X=np.stack([wave, 0.1 * wave, wave[::-1]]), rate_hz=16_000)
    dataset = open_dataset([str(tmp_path / "b.npz")], DataOptions())
    loud, soft, other = LogMelSegments()(dataset, dataset, 0)[0].values
    assert_allclose(loud, soft, atol=1e-2)
    assert abs(loud - other).max() > 1
