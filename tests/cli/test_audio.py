"""Audio through every command, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import checked as seqcl
from PIL import Image

QUICK = ("--set", "training.steps=2", "--set", "training.batch_size=8", "--set",
         "encoder.widths=[4,4]", "--set", "encoder.local_dim=8")  # fmt: skip
INSTANT = ("--set", "encoder.dilations=2", "--set", "encoder.biases=1")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Tones and noises of two rates, one file cut short, one with a hostile name, and a run."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    (folder / "clips").mkdir()
    rows = ["file,sound,fold"]
    for number in range(40):
        name, rate = f"{number:02}.flac", (8_000, 22_050)[number % 3 == 0]
        time = np.arange(rate // 2) / rate
        tone = np.sin(2 * np.pi * rng.uniform(300, 2_000) * time)
        values = tone if number % 2 else rng.normal(0, 0.2, len(time))
        soundfile.write(folder / "clips" / name, 0.3 * values, rate)
        rows.append(f"{name},{('noise', 'tone')[number % 2]},{number % 4}")
    hostile = "=cmd|' '!A1<script>.flac"
    (folder / "clips" / "03.flac").rename(folder / "clips" / hostile)
    rows[4] = f'"{hostile}",tone,3'
    (folder / "clips" / "labels.csv").write_text("\n".join(rows))
    whole = (folder / "clips" / "05.flac").read_bytes()
    (folder / "clips" / "05.flac").write_bytes(whole[: len(whole) // 2])
    seqcl(folder, "pretrain", "audio-instant", "--data", "clips", "--out", "run", *INSTANT,
          "--set", "data.label=sound", code=3)  # fmt: skip
    return folder


def test_a_run_resamples_and_lists_what_it_skipped(place: Path) -> None:
    manifest = json.loads((place / "run" / "manifest.json").read_text())
    assert manifest["rate_hz"] == 16_000
    assert manifest["label_names"] == ["noise", "tone"]
    assert "resampled to one: 8,000 Hz (26), 22,050 Hz (14)" in manifest["notes"][0]
    skipped = [json.loads(line) for line in (place / "run" / "skipped.jsonl").open()]
    assert [item["path"] for item in skipped] == ["05.flac"]


def test_evaluate_finds_the_sounds_and_prints_the_controls(place: Path) -> None:
    splits = ("--train", "clips:0", "--train", "clips:1", "--test", "clips:2", "--test", "clips:3")
    done = seqcl(
        place, "evaluate", "run", *splits, "--set", "data.split=fold", "--task", "knn",
        "--json", "-", "--predictions", "p.csv", "--report", "page.html", code=3,
    )  # fmt: skip
    rows = {row["system"]: row for row in json.loads(done.stdout)["rows"]}
    controls = {"log_mel_statistics", "log_mel_segments", "mfcc_statistics"}
    assert {"seqcl", "untrained encoder", *controls} == set(rows)
    assert rows["log_mel_statistics"]["metrics"]["accuracy"] > 0.8
    assert "<script>.flac" not in (place / "page.html").read_text()
    assert "\n=cmd" not in (place / "p.csv").read_text()


def test_embed_gives_a_vector_a_clip(place: Path) -> None:
    seqcl(place, "embed", "run", "--data", "clips", "--out", "vectors.npz", code=3)
    assert len(np.load(place / "vectors.npz")["embeddings"]) == 39


def test_views_are_pictures_of_spectrograms_and_files_to_listen_to(place: Path) -> None:
    data = ("--data", "clips", "--records", "2", "--set", "data.label=sound")
    seqcl(place, "views", "audio-clip", *data, "--out", "views.png", code=0)
    with Image.open(place / "views.png") as image:
        # Of 64 bands and 25 frames, twice as large; the views are half as long.
        assert image.size == (6 + 3 * (2 * 25 + 6), 6 + 2 * (2 * 64 + 6))
    whole = ("--set", "data.window=4000", "--set", "views.strong.0.sigma_db=0")
    seqcl(place, "views", "audio-fingerprint", *data, *whole, "--out", "sounds")
    names = sorted(path.name for path in (place / "sounds").iterdir())
    assert [name.split("-")[-1] for name in names] == ["record.wav", "view1.wav", "view2.wav"] * 2
    record, weak, strong = (soundfile.read(place / "sounds" / name)[0] for name in names[:3])
    np.testing.assert_allclose(weak, record)
    assert len(strong) == len(record) == 4_000
    assert np.abs(strong - record).max() > 0.01
    told = seqcl(place, "views", "audio-clip", *data, "--out", "views.svg", code=2)
    assert "spectrograms are drawn as .png" in told.stderr
    told = seqcl(place, "views", "audio-clip", *data, "--out", "sounds", code=2)
    assert "sounds: holds files already" in told.stderr


def test_inspect_tells_seconds_and_proposes_a_preset_that_runs(place: Path) -> None:
    told = seqcl(place, "inspect", "clips", "--set", "data.label=sound", code=4)
    assert "data.rate_hz does so for audio files" in told.stderr
    chosen = ("--set", "data.rate_hz=16000", "--set", "data.label=sound")
    done = seqcl(place, "inspect", "clips", *chosen, code=3)
    assert "0.5 to 0.5, median 0.5" in done.stderr
    assert "noise (20), tone (19)" in done.stderr
    assert "extends: audio-instant" in done.stdout
    (place / "mine.yaml").write_text(done.stdout)
    seqcl(place, "pretrain", "mine.yaml", "--data", "clips", "--dry-run")


def test_a_preset_trained_by_gradient_runs_and_a_wrong_rate_is_told(place: Path) -> None:
    command = ("pretrain", "audio-clip", "--data", "clips", "--set", "data.label=sound", *QUICK)
    seqcl(place, *command, "--out", "clip", code=3)
    told = seqcl(place, *command, "--out", "no", "--set", "data.rate_hz=8000", code=4)
    assert "set data.rate_hz=16000 to resample it, or frontend.rate_hz=8000" in told.stderr
