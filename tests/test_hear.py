"""The HEAR interface: shapes, times in milliseconds, and the same vectors as the run's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import seqcl
from seqcl.errors import UsageError
from seqcl.hear import (
    HearModel,
    get_scene_embeddings,
    get_timestamp_embeddings,
    load_model,
)
from seqcl.run import Settings, pretrain

RATE_HZ = 16_000
SMALL = ["training.steps=2", "training.batch_size=4", "encoder.widths=[4,4]",
         "encoder.local_dim=6", "data.window=8000"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train for a moment on six sounds of a second."""
    folder = tmp_path_factory.mktemp("hear")
    (folder / "clips").mkdir()
    for number, sound in enumerate(sounds(6)):
        soundfile.write(folder / "clips" / f"{number}.wav", sound.numpy(), RATE_HZ)
    given = Settings(sources=[str(folder / "clips")], overrides=SMALL, device="cpu")
    pretrain("audio-clip", given, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def model(run: Path) -> HearModel:
    return load_model(str(run))


def sounds(count: int, steps: int = RATE_HZ, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(count, steps, generator=draw)


def test_a_model_says_its_rate_and_sizes(model: HearModel) -> None:
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate == RATE_HZ
    assert model.scene_embedding_size == model.timestamp_embedding_size == 4 * 6


def test_a_scene_of_one_window_is_what_the_run_embeds(model: HearModel, run: Path) -> None:
    audio = sounds(3, 8_000)
    found = get_scene_embeddings(audio, model)
    assert found.shape == (3, model.scene_embedding_size)
    assert found.dtype == torch.float32
    own = seqcl.load(run).embed(audio[:, None].numpy(), device="cpu")
    assert np.allclose(found.numpy(), own, atol=1e-5)


def test_a_longer_scene_is_the_mean_of_its_windows(model: HearModel) -> None:
    audio = sounds(2, 13_000)
    parts = [get_scene_embeddings(audio[:, s : s + 8_000], model) for s in (0, 4_000, 5_000)]
    found = get_scene_embeddings(audio, model)
    assert torch.allclose(found, torch.stack(parts).mean(0), atol=1e-5)
    assert not torch.allclose(found, parts[0], atol=1e-3)


def test_timestamps_are_milliseconds_at_most_fifty_apart(model: HearModel) -> None:
    found, times = get_timestamp_embeddings(sounds(2, 2 * RATE_HZ), model)
    assert found.shape == (*times.shape, model.timestamp_embedding_size)
    assert times[0, 0] == 0
    assert 0 < float(times.diff(dim=1).max()) <= 50
    assert 1_950 <= float(times[0, -1]) < 2_000
    assert torch.equal(times[0], times[1])


@pytest.mark.parametrize("samples", [16_000, 16_001, 16_159, 250])
def test_timestamps_keep_their_hop_where_the_sound_ends_within_one(
    model: HearModel, monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    monkeypatch.setattr(model.model.frontend, "hop", 500)
    _, times = get_timestamp_embeddings(sounds(1, samples), model)
    expected = 31.25 * torch.arange(-(-samples // 500))  # 500 of 16,000 samples a second
    torch.testing.assert_close(times[0], expected)


def test_timestamp_embeddings_follow_what_is_heard_there(model: HearModel) -> None:
    first, second = sounds(1, 3 * RATE_HZ), sounds(1, 3 * RATE_HZ, seed=1)
    mixed = torch.cat((first[:, : 2 * RATE_HZ], 5 * second[:, 2 * RATE_HZ :]), dim=1)
    (a, times), (b, _) = (get_timestamp_embeddings(x, model) for x in (first, mixed))
    apart = (a - b).abs().amax(2)[0]
    assert float(apart[times[0] < 1_200].max()) < 1e-5
    assert float(apart[times[0] > 2_000].min()) > 1e-3


def test_each_sound_is_embedded_alone(model: HearModel) -> None:
    audio = sounds(3)
    for function in (get_scene_embeddings, lambda *a: get_timestamp_embeddings(*a)[0]):
        assert torch.allclose(function(audio, model)[2:], function(audio[2:], model), atol=1e-5)


@pytest.mark.parametrize("audio", [torch.zeros(8), torch.zeros(0, 8), torch.zeros(1, 8).int()])
def test_other_shapes_and_types_are_refused(model: HearModel, audio: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="needed: \\(n_sounds, n_samples\\) float32"):
        get_scene_embeddings(audio, model)


def test_a_run_of_series_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=np.random.default_rng(0).normal(size=(8, 1, 32)))
    given = Settings(sources=[str(tmp_path / "x.npz")], overrides=["training.steps=1"])
    pretrain("series", given, tmp_path / "run")
    with pytest.raises(UsageError, match="is a run of sequence, 1 channels"):
        load_model(str(tmp_path / "run"))
