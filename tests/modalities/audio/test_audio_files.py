"""Audio files: every form, any rate, excerpts, and what is wrong with a file."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from seqcl.data.dataset import Dataset, open_dataset
from seqcl.data.options import DataOptions
from seqcl.data.reader import Columns
from seqcl.errors import DataError, UsageError
from seqcl.modalities.audio.files import AudioFileReader
from seqcl.modalities.audio.wav import open_pcm

RATE = 8_000
NOISE = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 5_000)).astype(np.float32)
TONE = (0.5 * np.sin(np.arange(22_050) * 2 * np.pi * 440 / 22_050)).astype(np.float32)


def write(path: Path, values: np.ndarray, rate: int = RATE, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, values.T, rate, **options)
    return path


def read(path: Path, **options: object) -> np.ndarray:
    reader = AudioFileReader(Columns(**options))
    (entry,) = reader.scan(path)
    return reader.read(entry, 0, entry.length).values


def opened(*sources: Path, **options: object) -> Dataset:
    return open_dataset([str(source) for source in sources], DataOptions(**options))


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
)
def test_a_wave_file_is_read_as_libsndfile_reads_it(tmp_path: Path, subtype: str) -> None:
    path = write(tmp_path / "a.wav", NOISE, subtype=subtype)
    truth = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    assert (open_pcm(path) is None) == (subtype in ("ULAW", "ALAW"))
    np.testing.assert_array_equal(read(path, mono=False), truth)
    (entry,) = AudioFileReader(Columns(mono=False)).scan(path)
    part = AudioFileReader(Columns(mono=False)).read(entry, 4_000, 4_777).values
    np.testing.assert_array_equal(part, truth[:, 4_000:4_777])


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3", ".aiff"])
def test_other_forms_are_read_and_sought_in(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", np.tile(TONE, (2, 3)), 22_050)
    truth = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    reader = AudioFileReader(Columns(mono=False))
    (entry,) = reader.scan(path)
    assert (entry.length, entry.rate_hz) == (truth.shape[1], 22_050)
    part = reader.read(entry, 49_000, 52_000).values
    # The last bit of MP3 depends on where its decoder began.
    np.testing.assert_allclose(part, truth[:, 49_000:52_000], atol=1e-6 if suffix == ".mp3" else 0)


def test_an_extensible_header_and_odd_chunks_are_understood(tmp_path: Path) -> None:
    samples = (NOISE[:1, :100] * 32_767).astype("<i2")
    extra = struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
    header = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, 2 * RATE, 2, 16) + extra
    chunks = [(b"LIST", b"odd"), (b"fmt ", header), (b"data", samples.tobytes())]
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body + b"id3 tag")
    np.testing.assert_array_equal(read(path), samples / np.float32(32_768))


def test_a_wave_file_that_was_streamed_ends_with_its_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", NOISE, subtype="PCM_16")
    raw = bytearray(path.read_bytes())
    raw[40:44] = b"\xff" * 4
    path.write_bytes(bytes(raw))
    assert read(path).shape == (1, 5_000)


def test_channels_are_averaged_or_picked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", NOISE, subtype="FLOAT")
    np.testing.assert_array_equal(read(path), NOISE.mean(0, keepdims=True))
    np.testing.assert_array_equal(read(path, values=("c1",)), NOISE[1:])
    np.testing.assert_array_equal(read(path, mono=False), NOISE)
    with pytest.raises(DataError, match="has no channel 'left'"):
        read(path, values=("left",))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 44_101, 48_000])
def test_an_excerpt_at_another_rate_is_a_part_of_the_whole(tmp_path: Path, rate: int) -> None:
    values = np.random.default_rng(1).normal(0, 0.2, (1, 3 * rate)).astype(np.float32)
    path = write(tmp_path / "a.wav", values, rate, subtype="FLOAT")
    whole = read(path, rate_hz=16_000)
    expected = soxr.resample(values[0], rate, 16_000, "HQ")
    assert whole.shape == (1, 48_000)
    np.testing.assert_allclose(whole[0, : len(expected)], expected[:48_000], atol=1e-6)
    reader = AudioFileReader(Columns(rate_hz=16_000))
    (entry,) = reader.scan(path)
    for start, stop in [(0, 7), (16_001, 17_234), (31_000, 48_000), (47_999, 48_000), (9, 9)]:
        part = reader.read(entry, start, stop).values
        np.testing.assert_allclose(part, whole[:, start:stop], atol=1e-5)


def test_folders_of_several_rates_are_resampled_and_told(tmp_path: Path) -> None:
    for number, rate in enumerate((8_000, 8_000, 44_100)):
        write(tmp_path / ("dog", "cat")[number % 2] / f"{number}.wav", NOISE, rate)
    dataset = opened(tmp_path, rate_hz=16_000)
    assert dataset.rate_hz == 16_000
    assert dataset.classes == ("cat", "dog")
    assert dataset.lengths.tolist() == [10_000, 10_000, 1_815]
    (told,) = [note for note in dataset.notes if "sampling rates" in note]
    assert told.endswith("resampled to one: 8,000 Hz (2), 44,100 Hz (1)")
    with pytest.raises(DataError, match="44100 Hz .* has 8000 Hz; .*data.rate_hz does so for"):
        opened(tmp_path)


def test_columns_of_labels_csv_are_chosen_by_name(tmp_path: Path) -> None:
    rows = ["file,category,speaker,fold"]
    for number in range(4):
        write(tmp_path / "audio" / f"{number}.wav", NOISE)
        rows.append(f"audio/{number}.wav,{'ab'[number % 2]},s{number // 2},{number}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    chosen = {"label": "category", "group": "speaker", "split": "fold"}
    dataset = opened(tmp_path, **chosen)
    assert list(dataset.labels) == ["a", "b", "a", "b"]
    assert list(dataset.groups) == ["s0", "s0", "s1", "s1"]
    third = opened(Path(f"{tmp_path}:2"), Path(f"{tmp_path}:3"), **chosen)
    assert list(third.ids) == ["audio/2.wav", "audio/3.wav"]
    with pytest.raises(DataError, match=r"labels.csv:1: has no column 'categori'.*'category'\?"):
        opened(tmp_path, label="categori")
    with pytest.raises(DataError, match=r"labels.csv:1: header is .*; needed: file, and label"):
        opened(tmp_path)
    (told,) = opened(tmp_path / "audio", label="category").notes
    assert "no labels.csv gives a label, asked for by data.label=category" in told


def test_corrupt_silent_and_empty_files_are_passed_over_or_told(tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / f"{number:02}.flac", NOISE)
    write(tmp_path / "silent.wav", 0 * NOISE)
    whole = (tmp_path / "07.flac").read_bytes()
    (tmp_path / "07.flac").write_bytes(whole[: len(whole) // 2])  # its header is whole
    (tmp_path / "08.flac").write_bytes(b"no audio")
    dataset = opened(tmp_path, max_skipped=0.1)
    assert len(dataset) == 39
    reasons = {item.path: item.reason for item in dataset.skipped}
    assert set(reasons) == {"07.flac", "08.flac"}
    assert all(reason.startswith(f"{tmp_path}/0") for reason in reasons.values())
    assert "cannot be decoded" in reasons["08.flac"]
    assert dataset.notes[-1] == "1 recordings are silent throughout, first silent.wav"
    with pytest.raises(DataError, match="max_skipped=0.01"):
        opened(tmp_path, max_skipped=0.01)
    write(tmp_path / "empty.wav", NOISE[:, :0])
    skipped = {item.path: item.reason for item in opened(tmp_path, max_skipped=0.1).skipped}
    assert skipped["empty.wav"] == "empty.wav: has no step with a value; drop it or fill it"


@pytest.mark.parametrize("suffix", ["wav", "w64"])
def test_infinite_samples_are_passed_over_and_missing_ones_are_not(
    tmp_path: Path, suffix: str
) -> None:
    values = NOISE.copy()
    values[0, 5] = np.nan
    write(tmp_path / f"a.{suffix}", values, subtype="FLOAT")
    values[0, 9] = np.inf
    write(tmp_path / f"b.{suffix}", values, subtype="FLOAT")
    dataset = opened(tmp_path, max_skipped=0.5)
    assert [item.path for item in dataset.skipped] == [f"b.{suffix}"]
    assert "holds samples that are infinite" in dataset.skipped[0].reason
    assert np.isnan(dataset.record(0).values[0, 5])


@pytest.mark.parametrize("suffix", ["wav", "w64"])
@pytest.mark.parametrize("options", [{}, {"rate_hz": 16_000}, {"cache": "cache"}])
def test_a_recording_without_a_value_is_passed_over_as_a_series_is(
    tmp_path: Path, suffix: str, options: dict[str, Any]
) -> None:
    if "cache" in options:
        options = {"cache": str(tmp_path / "cache")}
    write(tmp_path / f"b.{suffix}", NOISE, subtype="FLOAT")
    empty = write(tmp_path / f"a.{suffix}", np.full_like(NOISE, np.nan), subtype="FLOAT")
    (told,) = opened(tmp_path, max_skipped=0.5, **options).skipped
    np.savez(tmp_path / "a.npz", X=np.full((1, 1, 5_000), np.nan))
    with pytest.raises(DataError) as of_series:
        opened(tmp_path / "a.npz")
    assert str(of_series.value).startswith(told.reason.replace(f"a.{suffix}", "a.npz"))
    for window in (None, 1_000):
        with pytest.raises(DataError, match="has no step with a value; drop it or fill it"):
            opened(empty, window=window, **options)


def test_a_window_without_a_value_is_one_of_its_recording(tmp_path: Path) -> None:
    values = NOISE.copy()
    values[:, :2_500] = np.nan
    dataset = opened(write(tmp_path / "a.wav", values, subtype="FLOAT"), window=1_000)
    assert [bool(np.isnan(dataset.record(row).values).all()) for row in range(5)] == [
        True, True, False, False, False,
    ]  # fmt: skip
    values[1] = np.nan  # the mean of both channels is missing where one of them is
    path = write(tmp_path / "b.wav", values, subtype="FLOAT")
    with pytest.raises(DataError, match=r"b.wav: has no step with a value; drop it or fill it"):
        opened(path)
    assert opened(path, columns=["c0"]).lengths.tolist() == [5_000]


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW"])
def test_a_header_that_promises_more_than_there_is(tmp_path: Path, subtype: str) -> None:
    path = write(tmp_path / "a.wav", NOISE, subtype=subtype)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    if subtype == "ULAW":  # libsndfile takes what is there
        assert 2_000 < read(path).shape[1] < 3_000
        return
    with pytest.raises(DataError, match=r"promises 0.625 s of sound and 0.31\d s follow"):
        read(path)


def test_a_small_file_that_promises_days_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", np.zeros((1, 9_000)), RATE)
    raw = bytearray(path.read_bytes())
    raw[21] |= 0x0F  # the 36 bits of the number of samples in STREAMINFO
    raw[22:26] = b"\xff" * 4
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match=r"promises 8,589,935 s of sound in [\d,]+ bytes"):
        read(path)


def test_a_corpus_above_the_limit_is_tried_once_and_read_by_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqcl.data.loading.MEMORY_LIMIT", 1_000)
    for number in range(20):
        write(tmp_path / f"{number:02}.flac", NOISE)
    whole = (tmp_path / "07.flac").read_bytes()
    (tmp_path / "07.flac").write_bytes(whole[: len(whole) // 2])
    dataset = opened(tmp_path, window=1_000, max_skipped=0.1)
    assert [item.path for item in dataset.skipped] == ["07.flac"]
    assert len(dataset) == 95
    expected = soundfile.read(tmp_path / "08.flac", dtype="float32")[0].mean(1)[2_000:3_000]
    (row,) = [at for at, identity in enumerate(dataset.ids) if identity == "08.flac@2000"]
    np.testing.assert_array_equal(dataset.record(row).values[0], expected)


def test_a_cache_is_written_once_and_keyed_by_every_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = write(tmp_path / "a.flac", NOISE, 11_025), tmp_path / "cache"
    plain = read(path, rate_hz=RATE)
    cached = read(path, rate_hz=RATE, cache=str(folder))
    np.testing.assert_allclose(cached, plain, atol=0.5 * np.abs(plain).max() / 32_767 + 1e-7)
    read(path, rate_hz=RATE, mono=False, cache=str(folder))
    read(path, rate_hz=16_000, cache=str(folder))
    assert len(list(folder.rglob("*.pcm"))) == 3
    monkeypatch.setattr("seqcl.modalities.audio.files.decode", None)  # is not called again
    reader = AudioFileReader(Columns(rate_hz=RATE, cache=str(folder)))
    (entry,) = reader.scan(path)
    np.testing.assert_array_equal(reader.read(entry, 700, 900).values, cached[:, 700:900])
    next(folder.rglob("*.pcm")).write_bytes(b"half")
    path.touch()
    with pytest.raises(TypeError, match="NoneType"):
        read(path, rate_hz=RATE, cache=str(folder))


def test_a_missing_library_is_told_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.flac", NOISE)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UsageError, match=r"need soundfile.*pip install seqcl\[audio\]"):
        read(path)


def test_arrays_of_waveforms_tell_their_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, X=NOISE, rate_hz=RATE)
    assert opened(path).rate_hz == opened(path, rate_hz=RATE).rate_hz == RATE
    with pytest.raises(DataError, match="has 8000 Hz, and data.rate_hz asks for 16000"):
        opened(path, rate_hz=16_000)
    np.savez(path, X=NOISE, rate_hz=[1, 2])
    with pytest.raises(DataError, match=r"rate_hz is \[1 2\]; needed: one number above 0"):
        opened(path)
    np.savez(path, X=NOISE)
    assert opened(path).rate_hz is None
    assert opened(path, rate_hz=RATE).rate_hz == RATE


def test_a_rate_that_would_make_hours_of_a_small_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "slow.wav", np.zeros((1, 8_000), np.float32))
    raw = bytearray(path.read_bytes())
    raw[24:28] = struct.pack("<I", 1)
    path.write_bytes(raw)
    with pytest.raises(DataError, match="its header says 1 samples a second"):
        opened(path)


def test_a_wave_of_chunks_without_end_is_left_to_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "chunks.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + bytes(1 << 20))
    assert open_pcm(path) is None
    with pytest.raises(DataError):
        opened(path)
