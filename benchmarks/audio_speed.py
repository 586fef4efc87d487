"""Decoding, log-mel and views of audio against librosa, torchaudio and audiomentations.

    python benchmarks/audio_speed.py --out benchmarks/results/audio_speed [--quick]

64 clips of 1 s of noise at 16 kHz, 16 bits. Decoding from files in the page cache; `times_first` is
the speed relative to librosa (audiomentations for views). The chain is noise at 0 to 20 dB, a room,
speed 0.9 to 1.1 and pitch of 2 semitones up or down, and its output is a log-mel spectrogram of
64 bands for each system: seqcl changes the pitch on the spectrogram's bands, audiomentations on the
waveform by a phase vocoder; seqcl changes the speed by linear interpolation, audiomentations
resamples. Rooms are the same response of half a second from a file for both, and for `seqcl, noise
as room` decaying noise that is drawn anew for every clip, which audiomentations has not. CPU time
of one thread, systems interleaved, median of the repeats. What is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from measuring import table

from seqcl.batch import Batch
from seqcl.data.reader import Columns
from seqcl.modalities.audio.files import AudioFileReader
from seqcl.modalities.audio.frontend import LogMel
from seqcl.registry import Spec
from seqcl.rng import Rng
from seqcl.views.frontend import IdentityFrontend
from seqcl.views.independent import Independent

RATE, COUNT = 16_000, 64
Run = Callable[[int], Any]
CLIPS = np.random.default_rng(0).normal(0, 0.1, (COUNT, RATE)).astype(np.float32)
BATCH = Batch(torch.from_numpy(CLIPS)[:, None], torch.arange(COUNT), rate_hz=RATE)


def decoding(folder: Path) -> dict[str, dict[str, Run]]:
    """Return loaders of files, by form."""
    made: dict[str, dict[str, Run]] = {}
    for title, suffix, rate in (
        ("read wav", ".wav", RATE),
        ("read flac", ".flac", RATE),
        ("read wav at 44.1 kHz, resample to 16", ".wav", 44_100),
    ):
        paths = [folder / f"{rate}-{number}{suffix}" for number in range(COUNT)]
        for path in paths:
            values = np.random.default_rng(0).normal(0, 0.1, rate)
            soundfile.write(path, values, rate, subtype="PCM_16")
        made[title] = {
            "librosa": _librosa_loader(paths),
            "seqcl": _seqcl_loader(paths),
            "seqcl, header known": _seqcl_loader(paths, scanned=True),
        }
    return made


def _seqcl_loader(paths: list[Path], *, scanned: bool = False) -> Run:
    """Return what opens files and reads them, or reads what a dataset has opened."""
    reader = AudioFileReader(Columns(rate_hz=RATE))
    known = [next(iter(reader.scan(path))) for path in paths]

    def load(step: int) -> list[Any]:
        entries = known if scanned else [next(iter(reader.scan(path))) for path in paths]
        return [reader.read(entry, 0, entry.length).values for entry in entries]

    return load


def _librosa_loader(paths: list[Path]) -> Run:
    import librosa

    return lambda step: [librosa.load(path, sr=RATE)[0] for path in paths]


def mels() -> dict[str, Run]:
    """Return log-mel spectrograms of the clips."""
    import librosa

    frontend = LogMel(1, normalise="none")

    def by_librosa(step: int) -> Any:
        options = {"sr": RATE, "n_fft": 1_024, "hop_length": 160, "n_mels": 64}
        return [np.log(librosa.feature.melspectrogram(y=c, **options) + 1e-6) for c in CLIPS]

    runs: dict[str, Run] = {"librosa": by_librosa, "seqcl": lambda step: frontend(BATCH).values}
    transform = _torchaudio_mel()
    if transform is not None:
        runs["torchaudio"] = lambda step: (transform(BATCH.values) + 1e-6).log()
    return runs


def _torchaudio_mel() -> Any:
    try:
        from torchaudio.transforms import MelSpectrogram
    except (ImportError, OSError):
        return None
    return MelSpectrogram(
        RATE, n_fft=1_024, hop_length=160, n_mels=64, norm="slaney", mel_scale="slaney"
    )


CHAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "noise": ("noise", {"snr_db": (0.0, 20.0)}),
    "room": ("reverb", {}),
    "speed": ("speed", {"rate": (0.9, 1.1)}),
}
PITCH = ("band_warp", {"scale": (1.0, 1.0), "shift": (-3.0, 3.0)})


def views(folder: Path) -> dict[str, dict[str, Run]]:
    """Return each view alone, and the chain with its spectrogram."""
    frontend, identity = LogMel(1, normalise="none"), IdentityFrontend(1)
    decay = np.exp(-np.arange(RATE // 2) / (0.06 * RATE))
    room = folder / "room"
    room.mkdir()
    soundfile.write(room / "0.wav", decay * np.random.default_rng(0).normal(size=len(decay)), RATE)
    pitch, spectrograms = Spec("augmentations", *PITCH), frontend(BATCH)
    bands = Independent(views=1, after=(pitch,))
    made: dict[str, dict[str, Run]] = {title: {} for title in CHAIN}
    made["pitch"] = {"seqcl": lambda step: bands(spectrograms, identity, Rng(0, step))[0].values}
    for system, options in (("seqcl", {"bank": str(room)}), ("seqcl, noise as room", {})):
        specs = {
            title: Spec("augmentations", name, options if title == "room" else given)
            for title, (name, given) in CHAIN.items()
        }
        for title, spec in specs.items():
            if title == "room" or system == "seqcl":
                alone = Independent(views=1, before=(spec,))
                made[title][system] = lambda step, g=alone: g(BATCH, identity, Rng(0, step))
        waves = Independent(views=1, before=tuple(specs.values()))
        whole = Independent(views=1, before=tuple(specs.values()), after=(pitch,))
        for title, views, end in (
            ("noise, room, speed", waves, identity), ("chain and log-mel", whole, frontend)
        ):  # fmt: skip
            made.setdefault(title, {})[system] = lambda step, g=views, end=end: g(
                BATCH, end, Rng(0, step)
            )
    for title, run in _audiomentations(room / "0.wav", frontend).items():
        made[title] = {"audiomentations": run, **made[title]}
    return made


def _audiomentations(room: Path, frontend: LogMel) -> dict[str, Run]:
    try:
        import audiomentations as am
    except ImportError as error:
        print(f"audiomentations: left out, {error}")
        return {}
    parts = {
        "noise": am.AddGaussianSNR(min_snr_db=0, max_snr_db=20, p=1),
        "room": am.ApplyImpulseResponse(str(room), p=1),
        "speed": am.Resample(int(RATE * 0.9), int(RATE * 1.1), p=1),
        "pitch": am.PitchShift(-2, 2, p=1),
    }

    def each(transform: Any) -> Run:
        return lambda step: [transform(samples=clip, sample_rate=RATE) for clip in CLIPS]

    chain = am.Compose(list(parts.values()))
    three = am.Compose([parts[title] for title in CHAIN])

    def whole(step: int) -> Any:
        waves = [chain(samples=clip, sample_rate=RATE) for clip in CLIPS]
        sized = np.stack([np.resize(wave, RATE) for wave in waves])
        return frontend(BATCH.with_values(torch.from_numpy(sized)[:, None])).values

    singles = {title: each(part) for title, part in parts.items()}
    return {**singles, "noise, room, speed": each(three), "chain and log-mel": whole}


def measure(title: str, runs: Mapping[str, Run], repeats: int) -> list[dict[str, Any]]:
    """Time the systems in turn."""
    times: dict[str, list[float]] = {system: [] for system in runs}
    for step in range(repeats + 1):
        for system, run in runs.items():
            start = time.thread_time()
            run(step)
            times[system].append(time.thread_time() - start)
    spent = {system: statistics.median(found[1:]) / COUNT for system, found in times.items()}
    first = next(iter(spent.values()))
    return [
        {"what": title, "system": system, "clips_per_s": round(1 / seconds),
         "times_first": round(first / seconds, 1)}
        for system, seconds in spent.items()
    ]  # fmt: skip


def main() -> None:
    """Measure, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="stem of the .md and .json to write")
    parser.add_argument("--quick", action="store_true", help="2 repeats instead of 21")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)  # as views are made in training
    torch.zeros(2**22)  # freed at once, so that the allocator keeps its pages, as in training
    warnings.filterwarnings("ignore")
    repeats = 2 if options.quick else 21
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        todo = {**decoding(folder), "log-mel": mels(), **views(folder)}
        rows = [row for title, runs in todo.items() for row in measure(title, runs, repeats)]
    print(table(rows))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".md").write_text(table(rows) + "\n")
        options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
